//! Timestamps: on every segment once both sides have them, and what they are good for.

use crate::support::dialog::{Dialog, Opening};
use crate::support::fake_sockets::Fate;
use crate::support::frames::{Options, Packet, Seg, v4};
use crate::support::rng::Stream;
use crate::support::world::qemu;
use std::time::Duration;
use wirebay_engine::Config;
use wirebay_wire::DropReason;
use wirebay_wire::tcp::Timestamps;
use wirebay_wire::tcp::flags::{ACK, FIN, PSH, RST, SYN};

const CLOCK: u32 = 0xffff_f000;

fn with_stamps() -> Opening {
    Opening { clock: Some(CLOCK), ..Opening::default() }
}

fn opened() -> Dialog {
    Dialog::open(&with_stamps())
}

fn stamps(seg: &Seg) -> Timestamps {
    seg.options.timestamps.unwrap()
}

/// The same with another clock of the guest.
fn stamped(seg: &Seg, value: u32) -> Seg {
    let timestamps = Some(Timestamps { value, ..stamps(seg) });
    Seg { options: Options { timestamps, ..seg.options }, ..seg.clone() }
}

fn data(dialog: &Dialog, payload: &[u8]) -> Seg {
    Seg { flags: ACK | PSH, payload: payload.to_vec(), ..dialog.seg() }
}

#[test]
fn they_are_offered_to_those_who_asked_and_to_those_who_are_called() {
    for clock in [None, Some(7)] {
        let mut dialog = Dialog::syn(&Opening { clock, ..Opening::default() });
        dialog.peer().connects();
        let answer = dialog.hear().remove(0);
        assert_eq!(answer.options.timestamps.map(|stamps| stamps.echo), clock);
    }
    let called = Dialog::called(&with_stamps());
    assert_eq!(called.offered.timestamps.unwrap().echo, 0, "nothing to echo yet");
}

#[test]
fn every_segment_has_them_whatever_it_is_for() {
    let mut dialog = opened();
    dialog.peer().sends(&[1; 4000]);
    let mut all = dialog.hear();
    dialog.accept(&all);
    all.extend(dialog.say(&[1; 2000]));
    let late = Seg { seq: dialog.seq.wrapping_add(100), ..data(&dialog, b"late") };
    all.extend(dialog.put(&late));
    all.extend(dialog.advance(Duration::from_hours(2)));
    dialog.peer().ends();
    all.extend(dialog.hear());
    dialog.world.close();
    all.extend(dialog.hear());
    assert!(all.len() > 6 && all.last().unwrap().has(RST));
    assert!(all.iter().all(|seg| seg.options.timestamps.is_some()), "{all:?}");
}

#[test]
fn a_guest_that_has_none_gets_none() {
    let mut dialog = Dialog::open(&Opening::default());
    dialog.peer().sends(&[1; 4000]);
    let segs = dialog.hear();
    assert!(segs.iter().all(|seg| seg.options.timestamps.is_none()));
    assert_eq!(segs[0].payload.len(), 1460);
}

#[test]
fn segments_leave_room_for_them_within_the_mtu_and_the_longest_packet() {
    for (mtu, mss) in [(1500, 1460), (576, 536), (65_520, 65_480)] {
        let config = Config { mtu, ..qemu() };
        let opening = Opening { config, mss: Some(mss), scale: Some(8), ..with_stamps() };
        let mut dialog = Dialog::open(&opening);
        dialog.peer().sends(&Stream(1).bytes(0, 200_000));
        let segs = dialog.hear();
        assert_eq!(segs[0].payload.len(), usize::from(mss) - 12);
        Stream(1).check(0, &dialog.accept(&segs));
        assert_eq!(dialog.received(), 200_000);
    }
}

#[test]
fn a_super_segment_has_one_timestamp() {
    let mut dialog = opened();
    dialog.peer().sends(&[1; 60_000]);
    let segs = dialog.hear();
    assert!(dialog.world.super_segments > 0 && segs.len() > 40);
    assert!(segs.iter().all(|seg| stamps(seg) == stamps(&segs[0])));
}

#[test]
fn our_clock_ticks_in_milliseconds_and_begins_elsewhere_for_each_connection() {
    let mut dialog = opened();
    let first = stamps(&dialog.say(&[0; 1460])[0]).value;
    dialog.world.advance(Duration::from_millis(1234));
    let second = stamps(&dialog.say(&[0; 1460])[0]).value;
    assert_eq!(second.wrapping_sub(first), 1234);
    let syn = Seg { src: v4("10.0.2.15:50000"), flags: SYN, ack: 0, ..dialog.seg() };
    dialog.world.host.kernel().connect = crate::support::fake_host::Connect::AtOnce;
    let other = dialog.world.put(&[syn.frame()]).into_iter().find_map(Packet::seg).unwrap();
    let apart = stamps(&other).value.wrapping_sub(second) as i32;
    assert!(apart.unsigned_abs() > 1_000_000, "{apart}");
}

#[test]
fn the_echo_is_of_the_first_segment_that_is_acknowledged() {
    let mut dialog = opened();
    for i in 0..3 {
        let seg = stamped(&data(&dialog, &[0; 1000]), CLOCK.wrapping_add(2000 + i));
        dialog.seq = seg.end();
        dialog.world.give(&seg.frame());
    }
    let answers = dialog.hear();
    assert_eq!((answers.len(), stamps(&answers[0]).echo), (1, CLOCK.wrapping_add(2000)), "RFC 7323, 4.2");
}

#[test]
fn a_segment_behind_a_hole_does_not_change_the_echo() {
    let mut dialog = opened();
    let before = stamps(&dialog.say(&[0; 1460])[0]).echo;
    let late = Seg { seq: dialog.seq.wrapping_add(500), ..data(&dialog, b"late") };
    let answer = dialog.put(&stamped(&late, CLOCK.wrapping_add(9000))).remove(0);
    assert_eq!(stamps(&answer).echo, before);
    let fills = stamped(&data(&dialog, &[0; 500]), CLOCK.wrapping_add(8000));
    let answer = dialog.put(&fills).pop().unwrap();
    assert_eq!(stamps(&answer).echo, CLOCK.wrapping_add(8000), "older than the other, and not too old");
}

#[test]
fn data_of_long_ago_is_answered_and_not_taken() {
    let mut dialog = opened();
    dialog.world.advance(Duration::from_secs(10));
    dialog.say(b"now");
    let old = stamped(&data(&dialog, b"then"), CLOCK.wrapping_add(5000));
    let answers = dialog.put(&old);
    assert!(answers.len() == 1 && answers[0].is(ACK) && answers[0].ack == dialog.seq, "{answers:?}");
    assert_eq!(dialog.put(&stamped(&dialog.seg(), CLOCK)), [], "an old acknowledgement is not even answered");
    assert_eq!(dialog.world.drops(DropReason::TcpOldTimestamp), 2);
    dialog.say(b" and again");
    assert_eq!(dialog.peer().received(), b"now and again");
}

#[test]
fn an_old_end_ends_nothing_and_a_reset_needs_no_timestamp() {
    let mut dialog = opened();
    dialog.world.advance(Duration::from_secs(10));
    dialog.say(b"now");
    let end = stamped(&Seg { flags: ACK | FIN, ..dialog.seg() }, CLOCK);
    dialog.put(&end);
    assert!(!dialog.peer().conn().shut);
    dialog.put(&stamped(&Seg { flags: RST, ..dialog.seg() }, CLOCK));
    assert_eq!((dialog.lives(), dialog.peer().fate()), (false, Fate::Aborted));
}

#[test]
fn a_segment_without_a_timestamp_is_taken_all_the_same() {
    let mut dialog = opened();
    let seg = Seg { options: Options::default(), ..data(&dialog, b"bare") };
    dialog.put(&seg);
    assert_eq!(dialog.peer().received(), b"bare");
}

#[test]
fn after_twenty_four_days_without_one_any_timestamp_is_believed() {
    let mut dialog = opened();
    for day in 0..25 {
        for _ in 0..12 {
            // The guest answers when it is asked whether it is there, but without a timestamp.
            assert_eq!(dialog.advance(Duration::from_hours(2)).len(), 1);
            let bare = Seg { options: Options::default(), ..dialog.seg() };
            assert_eq!(dialog.put(&bare), []);
        }
        let early = stamped(&data(&dialog, b"?"), CLOCK.wrapping_sub(5000));
        if day < 23 {
            dialog.put(&early);
            assert_eq!(dialog.peer().received(), b"", "day {day}");
        } else if day == 24 {
            dialog.put(&early);
            assert_eq!(dialog.peer().received(), b"?");
        }
    }
}

#[test]
fn the_guests_clock_may_pass_its_wrap() {
    let mut dialog = opened();
    for _ in 0..10 {
        dialog.world.advance(Duration::from_secs(1));
        dialog.say(b"x");
    }
    assert_eq!(dialog.peer().received().len(), 10);
    assert!(stamps(&dialog.say(&[0; 1460])[0]).echo < CLOCK);
}

#[test]
fn a_retransmission_is_timed_by_its_echo() {
    let mut dialog = opened();
    dialog.peer().sends(&[7; 100]);
    dialog.hear();
    // Lost twice; the third is answered at once.
    let again = dialog.advance(Duration::from_secs(3));
    assert_eq!(again.len(), 2);
    dialog.accept(&again[1..]);
    dialog.acknowledge();
    dialog.peer().sends(&[7; 100]);
    let sent = dialog.hear()[0].at;
    let next = dialog.advance(Duration::from_secs(10));
    assert_eq!(next[0].at.since(sent), Duration::from_millis(200), "the guest is known to be near");
}

#[test]
fn an_echo_that_cannot_be_is_not_believed() {
    for lie in [12_345, 0] {
        let mut dialog = opened();
        dialog.peer().sends(&[7; 100]);
        dialog.hear();
        let again = dialog.advance(Duration::from_millis(1100));
        dialog.accept(&again);
        dialog.echo = lie;
        dialog.acknowledge();
        dialog.peer().sends(&[7; 100]);
        let sent = dialog.hear()[0].at;
        let next = dialog.advance(Duration::from_secs(10));
        assert_eq!(next[0].at.since(sent), Duration::from_secs(1));
    }
}
