//! What the guest sends behind a hole: kept, in its place, within bounds, and given back.

use crate::support::dialog::{Dialog, Opening};
use crate::support::fake_sockets::Fate;
use crate::support::frames::{Packet, Seg};
use crate::support::rng::{Rng, Stream};
use std::time::Duration;
use wirebay_wire::DropReason;
use wirebay_wire::tcp::flags::{ACK, FIN, PSH, RST};

const ALL: Stream = Stream(31);

fn opened() -> Dialog {
    Dialog::open(&Opening::default())
}

fn data(dialog: &Dialog, offset: usize, payload: &[u8]) -> Seg {
    let seq = dialog.isn.wrapping_add(1).wrapping_add(offset as u32);
    Seg { seq, flags: ACK | PSH, payload: payload.to_vec(), ..dialog.seg() }
}

fn piece(dialog: &Dialog, offset: usize, len: usize) -> Seg {
    data(dialog, offset, &ALL.bytes(offset, len))
}

fn put(dialog: &mut Dialog, offset: usize, len: usize) -> Vec<Seg> {
    let seg = piece(dialog, offset, len);
    dialog.put(&seg)
}

fn fin_at(dialog: &Dialog, offset: usize, len: usize) -> Seg {
    Seg { flags: ACK | FIN, ..piece(dialog, offset, len) }
}

#[test]
fn a_segment_behind_a_hole_is_answered_at_once_with_what_is_missing_and_delivered_when_the_hole_is_filled() {
    let mut dialog = opened();
    put(&mut dialog, 0, 3);
    for (i, offset) in [6, 9, 12].into_iter().enumerate() {
        let answers = put(&mut dialog, offset, 3);
        assert_eq!(answers.len(), 1, "one for each, or the guest cannot count to three");
        assert_eq!(answers[0].ack, 1004, "after {i}");
    }
    assert_eq!(dialog.peer().received().len(), 3);
    let answers = put(&mut dialog, 3, 3);
    assert_eq!(answers.last().unwrap().ack, 1001 + 15, "the answer does not wait: {answers:?}");
    ALL.check(0, &dialog.peer().received());
    assert_eq!(dialog.peer().received().len(), 15);
    assert_eq!(dialog.world.net.drops.total(), 0);
}

#[test]
fn a_hole_that_is_filled_in_part_is_answered_at_once() {
    let mut dialog = opened();
    put(&mut dialog, 10, 5);
    let answers = put(&mut dialog, 0, 4);
    assert!(answers.len() == 1 && answers[0].ack == 1005, "{answers:?}");
}

#[test]
fn pieces_may_come_in_any_order_and_overlap() {
    for seed in 0..200 {
        let mut rng = Rng::new(seed);
        let isn = if seed % 2 == 0 { 0_u32.wrapping_sub(rng.below(5000) as u32) } else { 1000 };
        let mut dialog = Dialog::open(&Opening { isn, ..Opening::default() });
        let total = 1 + rng.below(5000);
        while dialog.peer().received().len() < total {
            let from = rng.below(total);
            let len = 1 + rng.below((total - from).min(400));
            put(&mut dialog, from, len);
            ALL.check(0, &dialog.peer().received());
        }
        dialog.seq = dialog.isn.wrapping_add(1 + total as u32);
        assert_eq!(dialog.fin().last().unwrap().ack, dialog.seq);
        assert!(dialog.peer().conn().shut);
    }
}

#[test]
fn of_two_versions_of_a_byte_the_first_counts() {
    let mut dialog = opened();
    for seg in [
        data(&dialog, 2, b"CC"),
        data(&dialog, 6, b"GG"),
        data(&dialog, 1, b"bbbbbbbbb"),
        data(&dialog, 0, b"aa"),
    ] {
        dialog.put(&seg);
    }
    assert_eq!(dialog.peer().received(), b"aaCCbbGGbb");
}

#[test]
fn what_is_kept_already_is_counted_as_a_duplicate_and_answered() {
    let mut dialog = opened();
    put(&mut dialog, 100, 50);
    for (from, len) in [(100, 50), (110, 10)] {
        let answers = put(&mut dialog, from, len);
        assert!(answers.len() == 1 && answers[0].ack == 1001, "{answers:?}");
    }
    assert_eq!(dialog.world.drops(DropReason::TcpDuplicate), 2);
}

#[test]
fn an_end_that_comes_early_counts_when_its_turn_has_come() {
    let mut dialog = opened();
    for seg in [fin_at(&dialog, 30, 0), piece(&dialog, 20, 10), piece(&dialog, 10, 10)] {
        let answers = dialog.put(&seg);
        assert!(answers.iter().all(|seg| seg.ack == 1001), "{answers:?}");
        assert!(!dialog.peer().conn().shut);
    }
    let answers = put(&mut dialog, 0, 10);
    assert_eq!(answers.last().unwrap().ack, 1001 + 31);
    assert!(dialog.peer().conn().shut);
    ALL.check(0, &dialog.peer().received());
    dialog.seq = 1001 + 31;
    dialog.peer().ends();
    let segs = dialog.hear();
    dialog.accept(&segs);
    dialog.acknowledge();
    assert_eq!((dialog.lives(), dialog.peer().fate()), (false, Fate::Closed));
}

#[test]
fn an_end_with_data_may_come_early_and_twice() {
    let mut dialog = opened();
    for _ in 0..2 {
        let seg = fin_at(&dialog, 10, 20);
        dialog.put(&seg);
    }
    put(&mut dialog, 0, 10);
    assert!(dialog.peer().conn().shut);
    assert_eq!(dialog.peer().received().len(), 30);
}

#[test]
fn data_behind_an_early_end_is_never_delivered() {
    let mut dialog = opened();
    for seg in [fin_at(&dialog, 10, 0), piece(&dialog, 10, 40), fin_at(&dialog, 5, 0)] {
        dialog.put(&seg);
    }
    let answers = put(&mut dialog, 0, 10);
    assert_eq!(dialog.peer().received().len(), 10);
    assert!(dialog.peer().conn().shut);
    assert_eq!(answers.last().unwrap().ack, 1001 + 11);
}

#[test]
fn nothing_behind_the_window_is_kept() {
    let mut dialog = Dialog::open(&Opening { scale: None, ..Opening::default() });
    put(&mut dialog, 65_000, 1000);
    put(&mut dialog, 70_000, 1000);
    let answers = put(&mut dialog, 65_534, 1000);
    assert!(answers.iter().all(|seg| seg.ack == 1001));
    assert_eq!(dialog.world.drops(DropReason::TcpOutOfWindow), 3);
    for i in 0..65 {
        put(&mut dialog, i * 1000, 1000);
    }
    assert_eq!(dialog.peer().received().len(), 65_535, "what fitted was kept");
    ALL.check(0, &dialog.peer().received());
}

#[test]
fn a_slow_host_is_not_overrun_by_what_came_early() {
    let mut dialog = Dialog::open(&Opening { send_limit: Some(1000), ..Opening::default() });
    put(&mut dialog, 1400, 10_000);
    let answers = put(&mut dialog, 0, 1400);
    assert_eq!(answers.last().unwrap().ack, 1001 + 1000, "the host has taken no more");
    for _ in 0..20 {
        dialog.peer().reads(1000);
        dialog.hear();
    }
    assert_eq!(dialog.peer().received().len(), 11_400);
    ALL.check(0, &dialog.peer().received());
}

#[test]
fn single_bytes_with_holes_between_them_are_bounded_and_the_flow_recovers() {
    let mut dialog = opened();
    for i in 0..2000 {
        put(&mut dialog, 2 * i + 1, 1);
    }
    assert_eq!(dialog.world.drops(DropReason::TcpOutOfOrder), 2000 - 1024);
    for i in 0..4 {
        put(&mut dialog, i * 1000, 1000);
    }
    assert_eq!(dialog.peer().received().len(), 4000);
    ALL.check(0, &dialog.peer().received());
}

/// Connection number `i` of a guest that keeps `bytes` behind a hole, a multiple of 60,000.
fn hoard(dialog: &mut Dialog, i: u16, bytes: usize) -> Seg {
    use wirebay_wire::tcp::flags::SYN;
    let src = std::net::SocketAddr::new(dialog.guest.ip(), 10_000 + i);
    let syn = Seg { src, seq: 100, ack: 0, flags: SYN, mss: Some(1460), scale: Some(8), ..dialog.seg() };
    let answer = dialog.world.put(&[syn.frame()]).into_iter().find_map(Packet::seg).unwrap();
    let seg = Seg { seq: 101, ack: answer.end(), flags: ACK, mss: None, scale: None, ..syn };
    // The first real window is larger than that of the SYN.
    dialog.world.put(&[Seg { payload: vec![0; 1460], ..seg.clone() }.frame()]);
    for at in (0..bytes).step_by(60_000) {
        let seq = 101 + 1461 + at as u32;
        dialog.world.put(&[Seg { seq, payload: vec![0; 60_000], ..seg.clone() }.frame()]);
    }
    Seg { seq: 101 + 1460, ..seg }
}

#[test]
fn hoards_of_all_flows_together_leave_room_for_others_and_are_given_back_with_the_flow() {
    let mut dialog = opened();
    dialog.world.host.kernel().connect = crate::support::fake_host::Connect::AtOnce;
    for round in 0..3 {
        let lost = dialog.world.drops(DropReason::TcpOutOfOrder);
        let segs: Vec<_> = (0..20).map(|i| hoard(&mut dialog, i, 3_000_000)).collect();
        let full = dialog.world.drops(DropReason::TcpOutOfOrder) - lost;
        // 60 MB do not fit into 48 MiB: 200 of 1000 are too many.
        assert!((100..300).contains(&full), "{full} in round {round}");
        assert_eq!(dialog.world.drops(DropReason::TcpBacklogFull), 0);
        for (i, seg) in segs.iter().enumerate() {
            let end = match i % 3 {
                0 => Seg { flags: RST, ..seg.clone() },
                1 => Seg { flags: ACK | FIN, ..seg.clone() },
                _ => continue,
            };
            dialog.world.put(&[end.frame()]);
        }
        for number in dialog.world.host.connections() - 20..dialog.world.host.connections() {
            dialog.world.host.peer(number).fails(crate::support::fake_sockets::errno::ECONNRESET);
        }
        dialog.world.settle();
        dialog.world.take();
        assert_eq!(dialog.world.net.census().tcp, 1);
    }
}

#[test]
fn a_guest_that_falls_silent_with_a_hole_open_is_treated_like_any_other() {
    let mut dialog = opened();
    put(&mut dialog, 10, 10);
    dialog.world.advance(Duration::from_hours(3));
    assert!(!dialog.lives());
    assert_eq!(dialog.peer().fate(), Fate::Aborted);
}
