//! How connections end: one direction, then the other, both at once, or by a reset.

use crate::support::dialog::{Dialog, Opening};
use crate::support::fake_sockets::{Fate, errno};
use crate::support::frames::Seg;
use std::time::Duration;
use wirebay_wire::DropReason;
use wirebay_wire::tcp::flags::{ACK, FIN, RST};

fn opened() -> Dialog {
    Dialog::open(&Opening::default())
}

fn has_ended_well(dialog: &Dialog) -> bool {
    !dialog.lives() && dialog.peer().fate() == Fate::Closed && dialog.peer().conn().shut
}

#[test]
fn the_guest_ends_first_and_the_host_goes_on_talking() {
    let mut dialog = opened();
    let answers = dialog.fin();
    assert!(answers.len() == 1 && answers[0].is(ACK) && answers[0].ack == dialog.seq, "{answers:?}");
    assert!(dialog.peer().conn().shut);
    dialog.peer().sends(b"a long goodbye");
    let segs = dialog.hear();
    assert_eq!(dialog.accept(&segs), b"a long goodbye");
    dialog.acknowledge();
    dialog.peer().ends();
    let segs = dialog.hear();
    assert!(segs.len() == 1 && segs[0].is(FIN | ACK), "{segs:?}");
    dialog.accept(&segs);
    assert!(dialog.lives());
    assert_eq!(dialog.acknowledge(), []);
    assert!(has_ended_well(&dialog));
}

#[test]
fn the_host_ends_first_and_the_guest_goes_on_talking() {
    let mut dialog = opened();
    dialog.peer().ends();
    let segs = dialog.hear();
    assert!(segs.len() == 1 && segs[0].is(FIN | ACK), "{segs:?}");
    dialog.accept(&segs);
    dialog.acknowledge();
    dialog.say(b"more from here");
    assert_eq!(dialog.peer().received(), b"more from here");
    assert!(!dialog.peer().conn().shut && dialog.lives());
    let answers = dialog.fin();
    assert!(answers.len() == 1 && answers[0].is(ACK) && answers[0].ack == dialog.seq, "{answers:?}");
    assert!(has_ended_well(&dialog));
}

#[test]
fn both_end_at_the_same_time() {
    let mut dialog = opened();
    dialog.peer().ends();
    let theirs = dialog.hear();
    let answers = dialog.fin();
    assert_eq!(answers.last().unwrap().ack, dialog.seq, "our FIN was acknowledged before theirs arrived");
    assert!(dialog.lives());
    dialog.accept(&theirs);
    assert_eq!(dialog.acknowledge(), []);
    assert!(has_ended_well(&dialog));
}

#[test]
fn one_segment_may_acknowledge_the_end_and_end_the_other_direction() {
    let mut dialog = opened();
    dialog.peer().sends(b"bye");
    dialog.peer().ends();
    let segs = dialog.hear();
    assert_eq!(dialog.accept(&segs), b"bye");
    let answers = dialog.fin();
    assert!(answers.len() == 1 && answers[0].is(ACK) && answers[0].ack == dialog.seq, "{answers:?}");
    assert!(has_ended_well(&dialog));
}

#[test]
fn the_end_follows_the_last_byte_in_both_directions() {
    let mut dialog = opened();
    dialog.peer().sends(&[1; 5000]);
    dialog.peer().ends();
    let segs = dialog.hear();
    assert_eq!(dialog.accept(&segs).len(), 5000);
    assert_eq!(dialog.ack, segs[0].seq.wrapping_add(5001), "every byte and the FIN after them");
    let last = Seg { flags: ACK | FIN, payload: vec![2; 1000], ..dialog.seg() };
    dialog.put(&last);
    assert_eq!(dialog.peer().received(), [2; 1000]);
    assert!(has_ended_well(&dialog));
}

#[test]
fn the_guests_end_waits_for_what_the_host_has_not_taken() {
    let mut dialog = Dialog::open(&Opening { send_limit: Some(1000), ..Opening::default() });
    dialog.say(&[1; 1400]);
    dialog.say(&[2; 1400]);
    let answers = dialog.fin();
    assert!(!dialog.peer().conn().shut);
    assert!(answers.iter().all(|seg| seg.ack == 2001), "{answers:?}");
    for _ in 0..5 {
        dialog.peer().reads(1000);
        dialog.hear();
    }
    assert_eq!(dialog.peer().received().len(), 2800);
    assert!(dialog.peer().conn().shut);
    assert_eq!(dialog.acknowledge(), [], "everything has been acknowledged, the FIN too");
    dialog.peer().ends();
    let segs = dialog.hear();
    assert_eq!(segs.last().unwrap().ack, dialog.seq);
}

#[test]
fn a_guest_whose_end_was_acknowledged_but_did_not_hear_of_it_is_told_again() {
    let mut dialog = opened();
    let fin = Seg { flags: ACK | FIN, ..dialog.seg() };
    dialog.fin();
    let answers = dialog.put(&fin);
    assert!(answers.len() == 1 && answers[0].is(ACK) && answers[0].ack == dialog.seq, "{answers:?}");
    assert!(dialog.lives());
}

#[test]
fn a_reset_of_the_guest_where_it_is_expected_aborts_the_host() {
    let mut dialog = opened();
    dialog.say(b"halfway");
    assert_eq!(dialog.put(&Seg { flags: RST, ..dialog.seg() }), []);
    assert!(!dialog.lives());
    assert_eq!(dialog.peer().fate(), Fate::Aborted);
}

#[test]
fn a_reset_inside_the_window_is_challenged_and_outside_ignored() {
    let mut dialog = opened();
    let reset = |dialog: &Dialog, offset: u32| Seg {
        flags: RST,
        seq: dialog.seq.wrapping_add(offset),
        ..dialog.seg()
    };
    let inside = reset(&dialog, 1);
    let answers = dialog.put(&inside);
    assert!(answers.len() == 1 && answers[0].is(ACK) && answers[0].ack == dialog.seq, "{answers:?}");
    for offset in [1 << 31, u32::MAX - 5000, 1 << 25] {
        let outside = reset(&dialog, offset);
        assert_eq!(dialog.put(&outside), [], "{offset}");
    }
    assert!(dialog.lives());
    assert_eq!(dialog.world.drops(DropReason::TcpOutOfWindow), 4);
}

#[test]
fn a_reset_while_the_host_is_slow_may_name_the_last_acknowledged_byte() {
    let mut dialog = Dialog::open(&Opening { send_limit: Some(1000), ..Opening::default() });
    dialog.say(&[1; 1400]);
    dialog.say(&[1; 1400]);
    dialog.put(&Seg { flags: RST, seq: 2001, ..dialog.seg() });
    assert!(!dialog.lives());
    assert_eq!(dialog.peer().fate(), Fate::Aborted);
}

#[test]
fn a_reset_of_the_host_resets_the_guest_where_it_is() {
    let mut dialog = opened();
    dialog.say(b"abc");
    dialog.peer().sends(b"defg");
    let segs = dialog.hear();
    dialog.accept(&segs);
    dialog.acknowledge();
    dialog.peer().fails(errno::ECONNRESET);
    let answers = dialog.hear();
    assert_eq!(answers.len(), 1);
    assert!(answers[0].is(RST | ACK) && answers[0].seq == dialog.ack, "{answers:?}");
    assert!(!dialog.lives());
}

#[test]
fn a_host_that_went_away_is_noticed_by_sending_to_it() {
    let mut dialog = opened();
    dialog.peer().fails(errno::EPIPE);
    while dialog.world.host.next_event().is_some() {}
    let answers = dialog.say(b"anybody there?");
    assert!(answers.len() == 1 && answers[0].has(RST), "{answers:?}");
    assert_eq!(dialog.world.drops(DropReason::HostSendFailed), 1);
    assert!(!dialog.lives());
}

#[test]
fn events_of_a_connection_that_has_gone_reach_nobody() {
    let mut dialog = opened();
    dialog.peer().sends(b"too late");
    let reset = Seg { flags: RST, ..dialog.seg() };
    let next = Seg { flags: wirebay_wire::tcp::flags::SYN, ack: 0, seq: 5, mss: Some(1460), ..dialog.seg() };
    dialog.world.give(&reset.frame());
    dialog.world.give(&next.frame());
    assert_eq!(dialog.hear(), []);
    assert!(dialog.lives());
    let asked = dialog.world.host.peer(1).conn().asked;
    assert_eq!(asked, 1, "the new connection has the old one's place, but not its events");
}

#[test]
fn the_end_of_the_network_resets_every_connection_on_both_sides() {
    let mut dialog = opened();
    dialog.say(b"abc");
    dialog.world.close();
    let segs = dialog.hear();
    assert!(segs.len() == 1 && segs[0].is(RST | ACK) && segs[0].seq == dialog.ack, "{segs:?}");
    assert_eq!(dialog.peer().fate(), Fate::Aborted);
    assert_eq!((dialog.world.flows(), dialog.world.net.next_deadline()), (0, None));
}

#[test]
fn a_half_closed_connection_whose_guest_is_gone_ends_in_the_end() {
    let mut dialog = opened();
    dialog.fin();
    dialog.world.advance(Duration::from_hours(3));
    assert!(!dialog.lives());
    assert_eq!(dialog.peer().fate(), Fate::Aborted);
}

/// Every order of `n` things.
fn orders(n: usize) -> Vec<Vec<usize>> {
    if n == 0 {
        return vec![Vec::new()];
    }
    let shorter = orders(n - 1);
    let insert = |order: &Vec<usize>, at: usize| [&order[..at], &[n - 1], &order[at..]].concat();
    shorter.iter().flat_map(|order| (0..n).map(move |at| insert(order, at))).collect()
}

#[test]
fn data_and_ends_of_both_sides_may_cross_in_every_order() {
    // The guest's data, the rest with its end, its end alone, its acknowledgement; the host's data, then its end.
    let orders = orders(6);
    assert_eq!(orders.len(), 720);
    for order in orders {
        let mut dialog = opened();
        let start = dialog.seq;
        let seg = |dialog: &Dialog, flags, at: u32, payload: &[u8]| Seg {
            flags,
            seq: start.wrapping_add(at),
            payload: payload.to_vec(),
            ..dialog.seg()
        };
        let mut said = false;
        for step in order {
            let segs = match step {
                0 => dialog.put(&seg(&dialog, ACK, 0, b"up")),
                1 => dialog.put(&seg(&dialog, ACK | FIN, 2, b"stream")),
                2 => dialog.put(&seg(&dialog, ACK | FIN, 8, b"")),
                3 => dialog.acknowledge(),
                _ => {
                    let peer = dialog.peer();
                    if std::mem::replace(&mut said, true) {
                        peer.ends();
                    } else {
                        peer.sends(b"down");
                    }
                    dialog.hear()
                }
            };
            dialog.accept(&segs);
        }
        let segs = dialog.hear();
        dialog.accept(&segs);
        dialog.seq = start.wrapping_add(9);
        dialog.acknowledge();
        assert_eq!(dialog.peer().received(), b"upstream");
        assert_eq!(dialog.received(), 5, "four bytes and the end");
        assert!(has_ended_well(&dialog));
    }
}
