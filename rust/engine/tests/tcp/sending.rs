//! What the host sends, and what happens when segments of it are lost.

use crate::support::dialog::{Dialog, Opening};
use crate::support::fake_sockets::Fate;
use crate::support::frames::Seg;
use crate::support::rng::Stream;
use std::time::Duration;
use wirebay_engine::Time;
use wirebay_wire::tcp::flags::{ACK, FIN, RST};

const MSS: usize = 1460;
/// Far beyond the first retransmission, and far before the second.
const A_SECOND_AND_MORE: Duration = Duration::from_millis(1100);

fn opened() -> Dialog {
    Dialog::open(&Opening::default())
}

fn send(dialog: &mut Dialog, segments: usize) -> Vec<Seg> {
    let base = dialog.peer().conn().queued();
    dialog.peer().sends(&Stream(1).bytes(base, segments * MSS));
    let segs = dialog.hear();
    assert_eq!(segs.len(), segments);
    segs
}

/// The guest acknowledges up to `seq`.
fn ack(dialog: &mut Dialog, seq: u32) -> Vec<Seg> {
    dialog.ack = seq;
    dialog.acknowledge()
}

/// Retransmissions until the flow is given up: times since `start`.
fn until_given_up(dialog: &mut Dialog, start: Time) -> (Vec<Duration>, Seg) {
    let mut segs = dialog.advance(Duration::from_hours(1));
    let last = segs.pop().unwrap();
    (segs.iter().map(|seg| seg.at.since(start)).collect(), last)
}

#[test]
fn data_goes_out_in_order_in_full_segments_as_far_as_the_window_goes() {
    let mut dialog = Dialog::open(&Opening { scale: Some(0), window: 5000, ..Opening::default() });
    dialog.peer().sends(&Stream(1).bytes(0, 20_000));
    let first = dialog.hear();
    assert_eq!(first.iter().map(|seg| seg.payload.len()).collect::<Vec<_>>(), [MSS; 3]);
    Stream(1).check(0, &dialog.accept(&first));
    let second = dialog.acknowledge();
    assert_eq!(second.len(), 3);
    Stream(1).check(3 * MSS, &dialog.accept(&second));
}

#[test]
fn a_guest_that_acknowledges_nothing_gets_one_window_and_no_more() {
    let mut dialog = Dialog::open(&Opening { scale: Some(4), ..Opening::default() });
    dialog.peer().sends(&Stream(1).bytes(0, 4 << 20));
    let window = 0xffff << 4;
    let sent: usize = dialog.hear().iter().map(|seg| seg.payload.len()).sum();
    assert!(sent <= window && sent > window - MSS, "{sent}");
    let again = dialog.advance(Duration::from_mins(5));
    assert!(again.iter().all(|seg| seg.seq == dialog.ack), "and then the first segment again, now and then");
    assert!(again.len() < 12, "{}", again.len());
    assert_eq!(dialog.peer().conn().queued(), 4 << 20, "all of it waits in the host's kernel");
}

#[test]
fn nothing_is_consumed_from_the_host_before_the_guest_has_it() {
    let mut dialog = opened();
    let segs = send(&mut dialog, 3);
    assert_eq!(dialog.peer().conn().queued(), 3 * MSS);
    ack(&mut dialog, segs[1].seq);
    assert_eq!(dialog.peer().conn().queued(), 2 * MSS);
    ack(&mut dialog, segs[2].end());
    assert_eq!(dialog.peer().conn().queued(), 0);
}

#[test]
fn an_acknowledgement_of_what_was_never_sent_is_answered_and_moves_nothing() {
    let mut dialog = opened();
    let segs = send(&mut dialog, 2);
    let wrong = Seg { ack: segs[1].end().wrapping_add(1), ..dialog.seg() };
    let answers = dialog.put(&wrong);
    assert!(answers.len() == 1 && answers[0].is(ACK), "{answers:?}");
    assert_eq!(dialog.peer().conn().queued(), 2 * MSS);
}

#[test]
fn an_old_acknowledgement_takes_nothing_back() {
    let mut dialog = opened();
    let segs = send(&mut dialog, 3);
    ack(&mut dialog, segs[1].end());
    assert_eq!(ack(&mut dialog, segs[0].seq), []);
    assert_eq!(dialog.peer().conn().queued(), MSS);
    let rest = dialog.advance(A_SECOND_AND_MORE);
    assert_eq!(rest[0].seq, segs[2].seq);
}

#[test]
fn the_third_duplicate_acknowledgement_brings_the_lost_segment_at_once() {
    let mut dialog = opened();
    let segs = send(&mut dialog, 6);
    dialog.accept(&segs[..1]);
    assert_eq!(dialog.acknowledge(), []);
    assert_eq!(dialog.acknowledge(), [], "the first duplicate");
    assert_eq!(dialog.acknowledge(), [], "the second");
    let again = dialog.acknowledge();
    assert_eq!(again.len(), 1);
    assert_eq!((again[0].seq, &again[0].payload), (segs[1].seq, &segs[1].payload));
    assert_eq!(dialog.acknowledge(), [], "the fourth changes nothing");
    assert_eq!(ack(&mut dialog, segs[5].end()), []);
    assert_eq!(dialog.peer().conn().queued(), 0);
}

#[test]
fn segments_with_data_or_a_new_window_are_no_duplicate_acknowledgements() {
    let mut dialog = opened();
    send(&mut dialog, 4);
    for _ in 0..4 {
        let answers = dialog.say(b"data");
        assert!(answers.iter().all(|seg| seg.payload.is_empty()), "{answers:?}");
    }
    for window in 1000..1004 {
        assert_eq!(dialog.acknowledge_with(window), []);
    }
}

#[test]
fn a_partial_acknowledgement_brings_the_next_hole_without_waiting() {
    let mut dialog = opened();
    let segs = send(&mut dialog, 6);
    for _ in 0..3 {
        dialog.acknowledge();
    }
    let next = ack(&mut dialog, segs[3].seq);
    assert_eq!(next.len(), 1, "the guest has had 0, 1 and 2");
    assert_eq!((next[0].seq, &next[0].payload), (segs[3].seq, &segs[3].payload));
    assert_eq!(ack(&mut dialog, segs[5].end()), []);
}

#[test]
fn a_lost_first_segment_is_sent_again_by_time() {
    let mut dialog = opened();
    let segs = send(&mut dialog, 1);
    let again = dialog.advance(A_SECOND_AND_MORE);
    assert_eq!(again.len(), 1);
    assert_eq!((again[0].seq, &again[0].payload), (segs[0].seq, &segs[0].payload));
    dialog.accept(&again);
    assert_eq!(dialog.acknowledge(), []);
    assert_eq!(dialog.advance(Duration::from_mins(5)), []);
}

#[test]
fn a_lost_last_segment_is_sent_again_by_time() {
    let mut dialog = opened();
    let segs = send(&mut dialog, 3);
    ack(&mut dialog, segs[2].seq);
    let again = dialog.advance(A_SECOND_AND_MORE);
    assert!(!again.is_empty());
    assert!(again.iter().all(|seg| (seg.seq, &seg.payload) == (segs[2].seq, &segs[2].payload)), "{again:?}");
}

#[test]
fn after_a_time_out_sending_starts_again_slowly_and_loses_nothing() {
    let mut dialog = opened();
    send(&mut dialog, 20);
    let mut burst = dialog.advance(A_SECOND_AND_MORE);
    let mut sizes = Vec::new();
    let mut data = Vec::new();
    while data.len() < 20 * MSS {
        sizes.push(burst.len());
        data.extend(dialog.accept(&burst));
        burst = dialog.acknowledge();
    }
    Stream(1).check(0, &data);
    assert_eq!(sizes[..4], [1, 2, 4, 8]);
}

#[test]
fn the_time_out_doubles_each_time_up_to_a_minute_and_then_the_flow_is_given_up() {
    let mut dialog = opened();
    let start = send(&mut dialog, 1)[0].at;
    let (times, last) = until_given_up(&mut dialog, start);
    let mut pauses = vec![times[0].as_secs()];
    pauses.extend(times.windows(2).map(|pair| (pair[1] - pair[0]).as_secs()));
    assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60, 60, 60, 60]);
    assert!(last.has(RST));
    assert_eq!(dialog.peer().fate(), Fate::Aborted);
    assert!(!dialog.lives());
}

#[test]
fn a_guest_that_answered_quickly_is_waited_for_less() {
    let mut dialog = opened();
    for _ in 0..5 {
        let segs = send(&mut dialog, 1);
        dialog.world.advance(Duration::from_millis(1));
        dialog.accept(&segs);
        dialog.acknowledge();
    }
    let sent = send(&mut dialog, 1)[0].at;
    let again = dialog.advance(Duration::from_millis(900));
    assert_eq!(again[0].at.since(sent), Duration::from_millis(200));
}

#[test]
fn an_acknowledgement_ends_the_doubling() {
    let mut dialog = opened();
    let segs = send(&mut dialog, 2);
    dialog.advance(Duration::from_secs(100));
    let rest = ack(&mut dialog, segs[1].seq);
    let from = rest.last().map_or(dialog.world.now, |seg| seg.at);
    let again = dialog.advance(Duration::from_secs(10));
    assert!(again[0].at.since(from) <= Duration::from_secs(1), "{:?}", again[0].at.since(from));
}

#[test]
fn an_acknowledgement_starts_the_time_out_anew() {
    let mut dialog = opened();
    let segs = send(&mut dialog, 2);
    dialog.world.advance(Duration::from_millis(900));
    ack(&mut dialog, segs[1].seq);
    let acked = dialog.world.now;
    let again = dialog.advance(Duration::from_secs(10));
    assert!(again[0].at.since(acked) > Duration::from_millis(900), "{:?}", again[0].at.since(acked));
}

#[test]
fn the_time_out_counts_from_the_segment_and_not_from_the_silence_before() {
    let mut dialog = opened();
    dialog.advance(Duration::from_hours(1));
    let sent = send(&mut dialog, 1)[0].at;
    let again = dialog.advance(Duration::from_secs(10));
    assert_eq!(again[0].at.since(sent), Duration::from_secs(1));
}

#[test]
fn a_lost_end_is_sent_again() {
    let mut dialog = opened();
    dialog.peer().ends();
    let first = dialog.hear();
    assert!(first.len() == 1 && first[0].is(FIN | ACK));
    let again = dialog.advance(A_SECOND_AND_MORE);
    assert_eq!(again.len(), 1);
    assert!(again[0].is(FIN | ACK) && again[0].seq == first[0].seq, "{again:?}");
}

#[test]
fn a_lost_end_after_lost_data_follows_the_data_again() {
    let mut dialog = opened();
    dialog.peer().sends(&Stream(1).bytes(0, 2 * MSS));
    dialog.peer().ends();
    let first = dialog.hear();
    assert!(first.iter().any(|seg| seg.has(FIN)));
    let mut data = Vec::new();
    let mut segs = dialog.advance(A_SECOND_AND_MORE);
    for _ in 0..4 {
        data.extend(dialog.accept(&segs));
        segs = dialog.acknowledge();
    }
    Stream(1).check(0, &data);
    assert_eq!(data.len(), 2 * MSS);
    assert_eq!(dialog.ack, first.last().unwrap().end(), "the FIN came again");
}

#[test]
fn a_guest_that_has_more_than_was_sent_again_is_believed() {
    let mut dialog = opened();
    let segs = send(&mut dialog, 10);
    dialog.advance(A_SECOND_AND_MORE);
    assert_eq!(ack(&mut dialog, segs[9].end()), []);
    assert_eq!(dialog.peer().conn().queued(), 0);
    assert_eq!(send(&mut dialog, 1)[0].seq, segs[9].end());
}

#[test]
fn what_arrives_while_a_flow_starts_again_is_sent_after_the_old() {
    let mut dialog = opened();
    send(&mut dialog, 2);
    let mut segs = dialog.advance(A_SECOND_AND_MORE);
    dialog.peer().sends(&Stream(1).bytes(2 * MSS, MSS));
    segs.extend(dialog.hear());
    let mut data = Vec::new();
    for _ in 0..4 {
        data.extend(dialog.accept(&segs));
        segs = dialog.acknowledge();
    }
    assert_eq!(data.len(), 3 * MSS);
    Stream(1).check(0, &data);
}
