//! Selective acknowledgements: those the network sends, and what it makes of the guest's.

use crate::support::dialog::{Dialog, Opening};
use crate::support::fake_sockets::Fate;
use crate::support::frames::{Options, Seg};
use crate::support::rng::Stream;
use std::time::Duration;
use wirebay_wire::tcp::flags::{ACK, FIN, PSH, RST, SYN};
use wirebay_wire::tcp::{SackBlocks, Timestamps};

const MSS: usize = 1460;
/// Far beyond the first retransmission, and far before the second.
const A_SECOND_AND_MORE: Duration = Duration::from_millis(1100);

fn with_sack() -> Opening {
    Opening { sack: true, ..Opening::default() }
}

fn opened() -> Dialog {
    Dialog::open(&with_sack())
}

fn say_at(dialog: &mut Dialog, offset: u32, len: usize) -> Vec<(u32, u32)> {
    let seq = dialog.isn.wrapping_add(1 + offset);
    let seg = Seg { seq, flags: ACK | PSH, payload: Stream(1).bytes(offset as usize, len), ..dialog.seg() };
    let answers = dialog.put(&seg);
    let base = dialog.isn.wrapping_add(1);
    let blocks = answers.last().unwrap().options.sack;
    blocks.as_slice().iter().map(|block| (block.0.wrapping_sub(base), block.1.wrapping_sub(base))).collect()
}

fn send(dialog: &mut Dialog, segments: usize) -> Vec<Seg> {
    let base = dialog.peer().conn().queued();
    dialog.peer().sends(&Stream(1).bytes(base, segments * MSS));
    let segs = dialog.hear();
    assert_eq!(segs.len(), segments);
    segs
}

/// The guest acknowledges up to `dialog.ack`, and says that it has these as well.
fn sack(dialog: &mut Dialog, has: &[(u32, u32)]) -> Vec<Seg> {
    let mut blocks = SackBlocks::default();
    for &(start, end) in has {
        assert!(blocks.push(start, end));
    }
    let seg = dialog.seg();
    dialog.put(&Seg { options: Options { sack: blocks, ..seg.options }, ..seg })
}

fn range(segs: &[Seg]) -> (u32, u32) {
    (segs[0].seq, segs.last().unwrap().end())
}

fn numbers(segs: &[Seg]) -> Vec<u32> {
    segs.iter().map(|seg| seg.seq).collect()
}

#[test]
fn it_is_offered_to_those_who_asked_and_to_those_who_are_called() {
    for asks in [true, false] {
        let mut dialog = Dialog::syn(&Opening { sack: asks, ..Opening::default() });
        dialog.peer().connects();
        let answer = dialog.hear().remove(0);
        assert!(answer.is(SYN | ACK) && answer.options.sack_permitted == asks, "{answer:?}");
    }
    let called = Dialog::called(&with_sack());
    assert!(called.offered.sack_permitted);
}

#[test]
fn the_guest_hears_what_is_here_the_latest_first() {
    let mut dialog = opened();
    assert_eq!(say_at(&mut dialog, 100, 100), [(100, 200)]);
    assert_eq!(say_at(&mut dialog, 400, 100), [(400, 500), (100, 200)]);
    assert_eq!(say_at(&mut dialog, 200, 50), [(100, 250), (400, 500)]);
    assert_eq!(say_at(&mut dialog, 420, 10), [(400, 500), (100, 250)], "a duplicate is told of as well");
    assert_eq!(say_at(&mut dialog, 250, 150), [(100, 500)]);
    assert_eq!(say_at(&mut dialog, 0, 100), [], "nothing is missing any more");
    Stream(1).check(0, &dialog.peer().received());
    assert_eq!(dialog.peer().received().len(), 500);
}

#[test]
fn of_many_runs_the_latest_four_are_told_or_three_beside_timestamps() {
    for (clock, most) in [(None, 4), (Some(5), 3)] {
        let mut dialog = Dialog::open(&Opening { clock, ..with_sack() });
        for i in 1..=10 {
            say_at(&mut dialog, 100 * i, 50);
        }
        let told = say_at(&mut dialog, 1100, 50);
        let expected: Vec<_> = (0..most).map(|i| (1100 - 100 * i, 1150 - 100 * i)).collect();
        assert_eq!(told, expected);
    }
}

#[test]
fn runs_made_of_segments_in_any_order_are_told_as_one() {
    let mut dialog = opened();
    for offset in [500, 400, 300, 600, 200] {
        say_at(&mut dialog, offset, 100);
    }
    assert_eq!(say_at(&mut dialog, 100, 100), [(100, 700)]);
}

#[test]
fn a_guest_that_did_not_ask_hears_of_nothing_and_is_not_listened_to() {
    let mut dialog = Dialog::open(&Opening::default());
    assert_eq!(say_at(&mut dialog, 100, 100), []);
    let segs = send(&mut dialog, 10);
    assert_eq!(sack(&mut dialog, &[range(&segs[1..])]), []);
    let again = dialog.advance(A_SECOND_AND_MORE);
    dialog.accept(&again);
    let more = dialog.acknowledge();
    assert!(more.iter().any(|seg| seg.seq == segs[1].seq), "everything is sent again: {more:?}");
}

#[test]
fn only_holes_are_sent_again() {
    let mut dialog = opened();
    let segs = send(&mut dialog, 20);
    dialog.accept(&segs[..3]);
    let has = [range(&segs[9..20]), range(&segs[4..7])];
    let again = sack(&mut dialog, &has);
    assert_eq!(numbers(&again), [segs[3].seq, segs[7].seq, segs[8].seq]);
    for seg in &again {
        let first = segs.iter().find(|first| first.seq == seg.seq).unwrap();
        assert_eq!(seg.payload, first.payload);
    }
    assert_eq!(sack(&mut dialog, &has), [], "each once");
    dialog.ack = segs[19].end();
    assert_eq!(dialog.acknowledge(), []);
    assert_eq!(dialog.peer().conn().queued(), 0);
    assert_eq!(dialog.advance(Duration::from_mins(1)), []);
}

#[test]
fn a_segment_that_was_only_overtaken_is_not_sent_again() {
    let mut dialog = opened();
    let segs = send(&mut dialog, 10);
    assert_eq!(sack(&mut dialog, &[range(&segs[1..2])]), []);
    assert_eq!(sack(&mut dialog, &[range(&segs[1..3])]), []);
    dialog.ack = segs[2].end();
    assert_eq!(dialog.acknowledge(), []);
}

#[test]
fn a_changed_window_does_not_hide_the_news() {
    let mut dialog = opened();
    let segs = send(&mut dialog, 10);
    let mut again = Vec::new();
    for i in 2..6 {
        dialog.window -= 1;
        again.extend(sack(&mut dialog, &[range(&segs[1..i])]));
    }
    assert_eq!(numbers(&again), [segs[0].seq]);
}

#[test]
fn a_partial_acknowledgement_does_not_repeat_what_is_on_its_way() {
    let mut dialog = opened();
    let segs = send(&mut dialog, 20);
    let again = sack(&mut dialog, &[range(&segs[10..20]), range(&segs[1..5])]);
    assert_eq!(again.len(), 1 + 5);
    dialog.ack = segs[5].seq;
    assert_eq!(sack(&mut dialog, &[range(&segs[10..20])]), [], "5 to 9 are on their way");
    dialog.ack = segs[7].seq;
    assert_eq!(sack(&mut dialog, &[range(&segs[10..20])]), []);
}

#[test]
fn a_retransmission_that_is_lost_too_is_noticed_by_what_was_sent_after_it() {
    let mut dialog = opened();
    let segs = send(&mut dialog, 10);
    assert_eq!(numbers(&sack(&mut dialog, &[range(&segs[1..])])), [segs[0].seq]);
    dialog.peer().sends(&Stream(1).bytes(10 * MSS, 5 * MSS));
    let later = dialog.hear();
    assert_eq!(later.len(), 5);
    assert_eq!(sack(&mut dialog, &[(segs[1].seq, later[1].end())]), []);
    let again = sack(&mut dialog, &[(segs[1].seq, later[2].end())]);
    assert_eq!(numbers(&again), [segs[0].seq]);
}

#[test]
fn after_a_time_out_what_the_guest_has_is_passed_over() {
    let mut dialog = opened();
    let segs = send(&mut dialog, 20);
    sack(&mut dialog, &[range(&segs[1..15])]);
    // The retransmission is lost, and so is everything behind what was told.
    let mut burst = dialog.advance(A_SECOND_AND_MORE);
    assert_eq!(numbers(&burst), [segs[0].seq]);
    let mut seen = Vec::new();
    dialog.ack = segs[14].end();
    burst = dialog.acknowledge();
    while dialog.ack != segs[19].end() {
        seen.extend(numbers(&burst));
        dialog.accept(&burst);
        burst = dialog.acknowledge();
    }
    assert_eq!(seen, numbers(&segs[15..]));
}

#[test]
fn several_holes_after_a_time_out_are_filled_and_nothing_else_is_sent() {
    let mut dialog = opened();
    let segs = send(&mut dialog, 20);
    let has = [range(&segs[2..4]), range(&segs[6..18])];
    sack(&mut dialog, &has[..1]);
    let mut sent = numbers(&dialog.advance(A_SECOND_AND_MORE));
    dialog.ack = segs[0].end();
    for (ack, has) in [(0, &has[..]), (3, &has[1..]), (4, &has[1..]), (17, &[]), (18, &[]), (19, &[])] {
        dialog.ack = segs[ack].end();
        sent.extend(numbers(&sack(&mut dialog, has)));
    }
    let holes: Vec<_> = [0, 1, 4, 5, 18, 19].iter().map(|&i| segs[i].seq).collect();
    assert_eq!(sent, holes);
    assert_eq!(dialog.advance(Duration::from_mins(1)), []);
}

#[test]
fn a_guest_that_takes_its_word_back_gets_everything_in_the_end() {
    let mut dialog = opened();
    let segs = send(&mut dialog, 20);
    sack(&mut dialog, &[range(&segs[1..])]);
    let mut data = Vec::new();
    // It has thrown all away but the first, and never says so again.
    for _ in 0..200 {
        let burst = dialog.advance(Duration::from_secs(5));
        data.extend(dialog.accept(&burst));
        let burst = dialog.acknowledge();
        data.extend(dialog.accept(&burst));
        dialog.acknowledge();
    }
    assert_eq!(data.len(), 20 * MSS);
    Stream(1).check(0, &data);
}

#[test]
fn duplicates_that_are_told_of_and_blocks_that_cannot_be_change_nothing() {
    for number in 0..7 {
        let mut dialog = opened();
        let segs = send(&mut dialog, 10);
        dialog.accept(&segs[..5]);
        assert_eq!(dialog.acknowledge(), []);
        let (una, max) = (segs[5].seq, segs[9].end());
        let block = [
            range(&segs[1..3]),
            (segs[3].seq, segs[7].seq),
            (max, max.wrapping_add(1)),
            (una.wrapping_add(10), max.wrapping_add(1)),
            (max, una),
            (una, una),
            (una.wrapping_sub(1 << 31), max),
        ][number];
        dialog.window -= 1;
        assert_eq!(sack(&mut dialog, &[block]), [], "{block:?}");
        assert_eq!(sack(&mut dialog, &[block]), [], "the first that counts as a duplicate");
        assert_eq!(sack(&mut dialog, &[block]), []);
        let again = sack(&mut dialog, &[block, range(&segs[6..10])]);
        assert_eq!(numbers(&again), [segs[5].seq], "there may be news beside it");
    }
}

#[test]
fn a_lost_segment_before_the_end_is_sent_again_and_the_end_is_not() {
    let mut dialog = opened();
    dialog.peer().sends(&Stream(1).bytes(0, 5 * MSS));
    dialog.peer().ends();
    let segs = dialog.hear();
    let again = sack(&mut dialog, &[range(&segs[1..])]);
    assert!(again.len() == 1 && again[0].seq == segs[0].seq && !again[0].has(FIN), "{again:?}");
    dialog.ack = segs.last().unwrap().end();
    assert_eq!(dialog.acknowledge(), []);
    dialog.fin();
    assert_eq!((dialog.lives(), dialog.peer().fate()), (false, Fate::Closed));
}

#[test]
fn holes_wait_for_room_on_the_way_to_the_guest() {
    let mut dialog = opened();
    let segs = send(&mut dialog, 40);
    let has: Vec<_> = [range(&segs[30..40])].into();
    (dialog.world.room, dialog.world.drains) = (20_000, false);
    let first = sack(&mut dialog, &has);
    let bytes: usize = first.iter().map(|seg| seg.payload.len()).sum();
    assert!(bytes <= 20_000 && bytes > 10_000, "{bytes}");
    let mut sent = numbers(&first);
    for _ in 0..10 {
        dialog.world.room = 20_000;
        dialog.world.net.unstall();
        sent.extend(numbers(&dialog.hear()));
    }
    assert_eq!(sent, numbers(&segs[..30]));
}

#[test]
fn blocks_of_a_hostile_guest_cost_little_and_break_nothing() {
    let mut dialog = opened();
    let segs = send(&mut dialog, 40);
    let (una, mut data) = (segs[0].seq, Vec::new());
    for i in 0..20_000 {
        let at = una.wrapping_add(2 * i + 1);
        let answers = sack(&mut dialog, &[(at, at.wrapping_add(1)), (at.wrapping_sub(9), at), (at, una)]);
        if i > 100 {
            assert!(answers.len() < 50, "{}", answers.len());
        }
    }
    for _ in 0..200 {
        let burst = dialog.advance(Duration::from_secs(1));
        data.extend(dialog.accept(&burst));
        let burst = dialog.acknowledge();
        data.extend(dialog.accept(&burst));
    }
    dialog.acknowledge();
    Stream(1).check(0, &data);
    assert_eq!(data.len(), 40 * MSS);
    dialog.put(&Seg { flags: RST, ..dialog.seg() });
    assert!(!dialog.lives());
}

#[test]
fn timestamps_and_blocks_of_one_header_are_both_understood() {
    let mut dialog = Dialog::open(&Opening { clock: Some(77), ..with_sack() });
    dialog.peer().sends(&Stream(1).bytes(0, 10 * 1448));
    let segs = dialog.hear();
    let again = sack(&mut dialog, &[range(&segs[1..])]);
    assert_eq!(numbers(&again), [segs[0].seq]);
    assert!(matches!(again[0].options.timestamps, Some(Timestamps { echo, .. }) if echo >= 77));
}
