//! Sequence numbers that pass 2^32 in the middle of a connection.

use crate::support::dialog::{Dialog, Opening};
use crate::support::fake_sockets::Fate;
use crate::support::frames::Seg;
use crate::support::rng::Stream;
use std::time::Duration;
use wirebay_wire::tcp::flags::{ACK, FIN, RST};

/// The first byte of each side is so far before the wrap.
fn before_the_wrap(bytes: u32) -> Dialog {
    let isn = 0_u32.wrapping_sub(bytes + 1);
    let dialog = Dialog::open(&Opening { isn, our_isn: Some(isn), ..Opening::default() });
    assert_eq!((dialog.seq, dialog.ack), (isn.wrapping_add(1), isn.wrapping_add(1)));
    dialog
}

fn exchange(bytes: u32) {
    let mut dialog = before_the_wrap(bytes);
    for i in 0..10 {
        dialog.say(&Stream(1).bytes(i * 700, 700));
        dialog.peer().sends(&Stream(2).bytes(i * 700, 700));
        let segs = dialog.hear();
        Stream(2).check(i * 700, &dialog.accept(&segs));
        dialog.acknowledge();
    }
    Stream(1).check(0, &dialog.peer().received());
    assert_eq!(dialog.peer().received().len(), 7000);
    assert_eq!(dialog.peer().conn().queued(), 0);
    dialog.peer().ends();
    let segs = dialog.hear();
    dialog.accept(&segs);
    dialog.fin();
    assert!(!dialog.lives());
    assert_eq!(dialog.peer().fate(), Fate::Closed);
    assert_eq!(dialog.world.net.drops.total(), 0);
}

#[test]
fn both_directions_pass_the_wrap() {
    for bytes in [0, 1, 699, 700, 701, 3000, 6999, 7000] {
        exchange(bytes);
    }
}

#[test]
fn lost_segments_around_the_wrap_are_sent_again() {
    let mut dialog = before_the_wrap(3000);
    dialog.peer().sends(&Stream(2).bytes(0, 14_600));
    let segs = dialog.hear();
    dialog.accept(&segs[..2]);
    for _ in 0..3 {
        assert_eq!(dialog.acknowledge(), []);
    }
    let again = dialog.acknowledge();
    assert_eq!((again.len(), again[0].seq), (1, segs[2].seq), "the segment that spans the wrap");
    let mut data = dialog.accept(&again);
    let mut burst = dialog.acknowledge();
    while 2 * 1460 + data.len() < 14_600 {
        if burst.is_empty() {
            burst = dialog.advance(Duration::from_mins(1));
        }
        data.extend(dialog.accept(&burst));
        burst = dialog.acknowledge();
    }
    Stream(2).check(2 * 1460, &data);
}

#[test]
fn out_of_order_and_old_segments_are_told_apart_around_the_wrap() {
    let mut dialog = before_the_wrap(1000);
    let all = Stream(1).bytes(0, 3000);
    let piece = |dialog: &Dialog, at: usize| {
        let seq = dialog.isn.wrapping_add(1 + at as u32);
        Seg { seq, payload: all[at..at + 500].to_vec(), ..dialog.seg() }
    };
    for at in [0, 1000, 500, 1500, 1000, 0, 1500, 2000, 2500] {
        let seg = piece(&dialog, at);
        dialog.put(&seg);
    }
    for at in [1000, 1500, 2000, 2500] {
        let seg = piece(&dialog, at);
        dialog.put(&seg);
    }
    assert_eq!(dialog.peer().received(), all);
}

#[test]
fn a_slow_host_shuts_and_opens_the_window_across_the_wrap() {
    let isn = 0_u32.wrapping_sub(30_000);
    let mut dialog = Dialog::open(&Opening { isn, send_limit: Some(10_000), ..Opening::default() });
    for i in 0..40 {
        dialog.say(&Stream(1).bytes(i * 1000, 1000));
    }
    while dialog.peer().received().len() < 40_000 {
        let before = dialog.peer().received().len();
        dialog.peer().reads(5000);
        dialog.hear();
        assert!(dialog.peer().received().len() > before);
    }
    Stream(1).check(0, &dialog.peer().received());
}

#[test]
fn resets_and_ends_right_at_the_wrap_are_understood() {
    let mut dialog = before_the_wrap(0);
    assert_eq!(dialog.seq, 0);
    dialog.put(&Seg { flags: RST, seq: u32::MAX, ..dialog.seg() });
    assert!(dialog.lives(), "one before the expected byte");
    dialog.put(&Seg { flags: RST, seq: 0, ..dialog.seg() });
    assert!(!dialog.lives());
    let mut dialog = before_the_wrap(3);
    dialog.say(b"abc");
    let answers = dialog.fin();
    assert!(answers[0].is(ACK) && answers[0].ack == 1, "{answers:?}");
    dialog.peer().sends(b"xyz");
    dialog.peer().ends();
    let segs = dialog.hear();
    dialog.accept(&segs);
    assert!(segs.iter().any(|seg| seg.has(FIN)) && dialog.ack == 1, "{segs:?}");
    dialog.acknowledge();
    assert_eq!(dialog.peer().fate(), Fate::Closed);
}
