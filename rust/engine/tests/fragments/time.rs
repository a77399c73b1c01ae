//! What does not become whole in time.

use super::pieces::{Bench, GUEST, OTHER, piece};
use std::time::Duration;
use wirebay_engine::Time;
use wirebay_wire::DropReason;

fn later(bench: &mut Bench, span: Duration) -> Vec<wirebay_engine::user::reassembly::Expired> {
    bench.now = bench.now + span;
    bench.table.expire(bench.now, &mut bench.drops)
}

#[test]
fn packets_expire_after_their_family_s_time_and_their_senders_are_told() {
    for (is_v6, limit) in [(false, 30), (true, 60)] {
        let mut bench = Bench { now: Time(5), ..Bench::default() };
        let first = piece(is_v6, 1, 0, true, &[7; 1000]);
        bench.waits(OTHER, &first);
        bench.now = bench.now + Duration::from_secs(10);
        bench.waits(OTHER, &piece(is_v6, 1, 2000, true, &[7; 8]));
        assert_eq!(bench.table.next_deadline(), Some(Time(5) + Duration::from_secs(limit)));
        assert_eq!(later(&mut bench, Duration::from_micros((limit - 10) * 1_000_000 - 1)), []);
        let expired = later(&mut bench, Duration::from_micros(1));
        assert_eq!((expired.len(), expired[0].mac, &expired[0].first[..]), (1, OTHER, &first[..]));
        assert_eq!((bench.table.cost(), bench.table.next_deadline()), (0, None));
        assert_eq!(bench.drops.get(DropReason::FragmentTimeout), 2);
    }
}

#[test]
fn without_the_first_fragment_nobody_is_told() {
    let mut bench = Bench::default();
    bench.waits(GUEST, &piece(false, 1, 8, true, &[7; 8]));
    assert_eq!(later(&mut bench, Duration::from_secs(30)), []);
    assert_eq!(bench.drops.get(DropReason::FragmentTimeout), 1);
}

#[test]
fn a_spoiled_packet_is_forgotten_when_its_time_is_over() {
    let mut bench = Bench::default();
    bench.waits(GUEST, &piece(false, 1, 0, true, &[7; 16]));
    assert!(bench.give(&piece(false, 1, 8, true, &[7; 16])).is_err());
    assert_eq!(later(&mut bench, Duration::from_secs(30)), []);
    assert_eq!(bench.drops.get(DropReason::FragmentTimeout), 0, "they were counted before");
    bench.waits(GUEST, &piece(false, 1, 0, true, &[7; 16]));
    assert!(bench.give(&piece(false, 1, 16, false, &[7; 8])).unwrap().is_some());
}

#[test]
fn packets_that_became_whole_do_not_call_anyone_for_long() {
    let mut bench = Bench::default();
    bench.waits(GUEST, &piece(true, 1, 0, true, &[7; 16]));
    bench.now = bench.now + Duration::from_secs(1);
    bench.waits(GUEST, &piece(true, 2, 0, true, &[7; 16]));
    bench.give(&piece(true, 1, 16, false, &[7; 8])).unwrap().unwrap();
    assert_eq!(later(&mut bench, Duration::from_secs(59)), []);
    assert_eq!(bench.table.next_deadline(), Some(Time(0) + Duration::from_secs(61)));
}
