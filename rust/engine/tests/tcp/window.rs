//! A guest that shuts its window: probes, and how it goes on.

use crate::support::dialog::{Dialog, Opening};
use crate::support::fake_sockets::Fate;
use crate::support::frames::Seg;
use crate::support::rng::Stream;
use std::time::Duration;
use wirebay_wire::tcp::flags::{ACK, FIN, RST};

/// A guest whose window has just been filled and shut.
fn shut() -> Dialog {
    let mut dialog = Dialog::open(&Opening { scale: Some(0), window: 3000, ..Opening::default() });
    dialog.peer().sends(&Stream(1).bytes(0, 10_000));
    let segs = dialog.hear();
    Stream(1).check(0, &dialog.accept(&segs));
    assert_eq!(dialog.acknowledge_with(0), [], "a shut window is respected");
    dialog
}

/// Time passes until the next probe, which is not answered.
fn probe(dialog: &mut Dialog) -> Seg {
    let wait = dialog.world.net.next_deadline().unwrap().since(dialog.world.now);
    let mut segs = dialog.advance(wait);
    assert_eq!(segs.len(), 1);
    segs.remove(0)
}

/// The rest of the 10,000 bytes, with the guest's window open again.
fn check_rest(dialog: &mut Dialog, from: usize, mut segs: Vec<Seg>) {
    let mut data = Vec::new();
    while from + data.len() < 10_000 {
        assert!(!segs.is_empty(), "stuck after {} bytes", from + data.len());
        data.extend(dialog.accept(&segs));
        segs = dialog.acknowledge();
    }
    Stream(1).check(from, &data);
    assert_eq!(from + data.len(), 10_000);
    assert_eq!(dialog.peer().conn().queued(), 0);
}

#[test]
fn a_shut_window_is_probed_with_the_next_byte_and_doubling_pauses() {
    let mut dialog = shut();
    let mut times = vec![dialog.world.now];
    let received = dialog.received();
    for _ in 0..6 {
        let seg = probe(&mut dialog);
        assert_eq!((seg.seq, seg.payload.len()), (dialog.ack, 1));
        Stream(1).check(received, &seg.payload);
        assert_eq!(dialog.acknowledge(), [], "still shut");
        times.push(seg.at);
    }
    let pauses: Vec<_> = times.windows(2).map(|pair| pair[1].since(pair[0])).collect();
    assert!(pauses.windows(2).all(|pair| pair[1] == 2 * pair[0]), "{pauses:?}");
}

#[test]
fn a_probe_that_was_not_taken_is_sent_again_with_what_follows() {
    let mut dialog = shut();
    let from = dialog.received();
    probe(&mut dialog);
    dialog.acknowledge();
    let segs = dialog.acknowledge_with(3000);
    assert_eq!(segs[0].seq, dialog.ack);
    assert!(segs[0].payload.len() > 1);
    check_rest(&mut dialog, from, segs);
}

#[test]
fn a_probe_that_was_taken_is_not_sent_again() {
    let mut dialog = shut();
    let from = dialog.received();
    let taken = probe(&mut dialog);
    Stream(1).check(from, &dialog.accept(&[taken]));
    assert_eq!(dialog.acknowledge(), [], "taken, and shut all the same");
    let next = probe(&mut dialog);
    assert_eq!(next.seq, dialog.ack);
    let segs = dialog.acknowledge_with(3000);
    check_rest(&mut dialog, from + 1, segs);
}

#[test]
fn a_window_that_opens_by_itself_needs_no_probe() {
    let mut dialog = shut();
    let from = dialog.received();
    let segs = dialog.acknowledge_with(3000);
    check_rest(&mut dialog, from, segs);
}

#[test]
fn the_news_of_an_open_window_may_get_lost() {
    let mut dialog = shut();
    let from = dialog.received();
    // The guest opens its window, but that segment never arrives; the next probe is acceptable to it.
    dialog.window = 3000;
    let seg = probe(&mut dialog);
    dialog.accept(&[seg]);
    let segs = dialog.acknowledge();
    check_rest(&mut dialog, from + 1, segs);
}

#[test]
fn a_guest_that_answers_probes_may_keep_its_window_shut_for_a_day() {
    let mut dialog = shut();
    let from = dialog.received();
    let end = dialog.world.now + Duration::from_hours(24);
    while dialog.world.now < end {
        let seg = probe(&mut dialog);
        assert_eq!((seg.seq, seg.payload.len()), (dialog.ack, 1));
        assert_eq!(dialog.acknowledge(), []);
    }
    let segs = dialog.acknowledge_with(3000);
    check_rest(&mut dialog, from, segs);
}

#[test]
fn a_guest_that_answers_no_probe_is_given_up_after_ten_minutes() {
    let mut dialog = shut();
    let start = dialog.world.now;
    let segs = dialog.advance(Duration::from_hours(1));
    let (last, probes) = segs.split_last().unwrap();
    assert!(last.has(RST), "{last:?}");
    assert!(probes.iter().all(|seg| seg.seq == dialog.ack && seg.payload.len() == 1));
    let patience = last.at.since(start).as_secs();
    assert!((600..=720).contains(&patience), "{patience} s");
    assert_eq!(dialog.peer().fate(), Fate::Aborted);
    assert!(!dialog.lives());
}

#[test]
fn nothing_is_probed_while_there_is_nothing_to_send() {
    let mut dialog = Dialog::open(&Opening { window: 0, ..Opening::default() });
    assert_eq!(dialog.advance(Duration::from_mins(10)), []);
    dialog.peer().sends(b"now there is");
    assert_eq!(dialog.hear(), []);
    assert_eq!(probe(&mut dialog).payload, b"n");
}

#[test]
fn the_end_of_the_hosts_stream_reaches_a_guest_whose_window_stays_shut() {
    let mut dialog = Dialog::open(&Opening { window: 0, ..Opening::default() });
    dialog.peer().ends();
    let mut segs = dialog.hear();
    if segs.is_empty() {
        segs = vec![probe(&mut dialog)];
    }
    assert!(segs.len() == 1 && segs[0].is(FIN | ACK) && segs[0].seq == dialog.ack, "{segs:?}");
    let again = dialog.advance(Duration::from_mins(2));
    assert!(!again.is_empty());
    assert!(again.iter().all(|seg| seg.is(FIN | ACK) && seg.seq == segs[0].seq), "{again:?}");
    dialog.accept(&segs);
    assert_eq!(dialog.acknowledge(), []);
    assert_eq!(dialog.advance(Duration::from_mins(10)), [], "nothing is left to probe for");
    dialog.fin();
    assert!(!dialog.lives());
    assert_eq!(dialog.peer().fate(), Fate::Closed);
}

#[test]
fn the_end_follows_a_byte_that_was_probed() {
    let mut dialog = Dialog::open(&Opening { window: 0, ..Opening::default() });
    dialog.peer().sends(b"x");
    dialog.peer().ends();
    dialog.hear();
    let byte = probe(&mut dialog);
    assert_eq!(dialog.accept(&[byte]), b"x");
    let mut segs = dialog.acknowledge();
    if segs.is_empty() {
        segs = vec![probe(&mut dialog)];
    }
    assert!(segs[0].is(FIN | ACK) && segs[0].seq == dialog.ack, "{segs:?}");
    dialog.accept(&segs);
    dialog.acknowledge();
    assert_eq!(dialog.advance(Duration::from_mins(10)), []);
}

#[test]
fn a_guest_that_takes_back_what_it_offered_is_waited_for() {
    let mut dialog = Dialog::open(&Opening { scale: Some(0), window: 20_000, ..Opening::default() });
    dialog.peer().sends(&Stream(1).bytes(0, 10_000));
    let segs = dialog.hear();
    // RFC 9293, 3.8.6: a sender must be robust against a window that shrinks.
    Stream(1).check(0, &dialog.accept(&segs[..2]));
    dialog.acknowledge_with(0);
    for _ in 0..30 {
        probe(&mut dialog);
        dialog.acknowledge();
        assert!(dialog.lives(), "it answers every time");
    }
    let from = dialog.received();
    let mut segs = dialog.acknowledge_with(10_000);
    segs.extend(dialog.advance(Duration::from_mins(2)));
    check_rest(&mut dialog, from, segs);
}

#[test]
fn a_window_smaller_than_a_segment_is_used() {
    let mut dialog = Dialog::open(&Opening { scale: Some(0), window: 100, ..Opening::default() });
    dialog.peer().sends(&Stream(1).bytes(0, 1000));
    let mut segs = dialog.hear();
    let mut data = Vec::new();
    while data.len() < 1000 {
        assert_eq!(segs.iter().map(|seg| seg.payload.len()).sum::<usize>(), 100);
        data.extend(dialog.accept(&segs));
        segs = dialog.acknowledge();
    }
    Stream(1).check(0, &data);
}

#[test]
fn an_old_segment_does_not_bring_back_an_old_window() {
    let mut dialog = Dialog::open(&Opening { scale: Some(0), window: 3000, ..Opening::default() });
    let old = dialog.seg();
    dialog.say(b"abc");
    dialog.acknowledge_with(0);
    dialog.put(&old);
    dialog.peer().sends(&[1; 1000]);
    assert_eq!(dialog.hear(), []);
}
