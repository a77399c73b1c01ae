//! Properties over random packets, cuts and orders.

use super::naive::{Fate, Naive};
use super::pieces::{Bench, GUEST, OTHER, cut, piece, udp_of};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use std::time::Duration;
use wirebay_wire::DropReason;
use wirebay_wire::fragment::Fragment;

/// A payload that is not its own neighbour anywhere.
fn payload(len: usize, seed: u8) -> Vec<u8> {
    (0..len).map(|at| (at / 7) as u8 ^ (at as u8).wrapping_mul(31) ^ seed).collect()
}

/// What is left to do with a packet on the way.
#[derive(Clone, Debug)]
struct Trip {
    is_v6: bool,
    len: usize,
    mtu: usize,
    from_other: bool,
}

fn trip() -> impl Strategy<Value = Trip> {
    let len = prop_oneof![1_usize..300, 1400_usize..9000, 60_000_usize..=65_507];
    (any::<bool>(), len, any::<bool>(), any::<Index>()).prop_map(|(is_v6, len, from_other, mtu)| {
        // At most 120 pieces, at least two.
        let (head, total) = (if is_v6 { 48 } else { 20 }, len + 8);
        let least = total.div_ceil(120).next_multiple_of(8);
        let mtu = head + least + mtu.index(total.saturating_sub(least).max(1));
        Trip { is_v6, len, mtu, from_other }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn cut_shuffled_doubled_and_interleaved_packets_arrive(
        trips in vec(trip(), 1..6), order in vec((any::<Index>(), any::<u32>()), 900), doubled in vec(any::<bool>(), 900),
    ) {
        let mut sent = Vec::new();
        for (number, trip) in trips.iter().enumerate() {
            for packet in cut(trip.is_v6, &payload(trip.len, number as u8), trip.mtu, 7 + number as u32) {
                prop_assert!(packet.len() <= trip.mtu || packet.len() == trip.len);
                sent.push((number, packet));
            }
        }
        let mut ways: Vec<_> = sent.iter().zip(&order).map(|(sent, order)| (order.1, sent)).collect();
        ways.sort_by_key(|way| way.0);
        let mut bench = Bench::default();
        let mut arrived = vec![None; trips.len()];
        for (i, (_, (number, packet))) in ways.iter().enumerate() {
            let mac = if trips[*number].from_other { OTHER } else { GUEST };
            if Fragment::parse(packet).unwrap().is_none() {
                arrived[*number] = Some(packet.clone());
                continue;
            }
            let result = bench.give_from(mac, packet).unwrap();
            if let Some(whole) = result {
                prop_assert_eq!(arrived[*number].replace(whole), None);
            } else if doubled[i] {
                prop_assert_eq!(bench.give_from(mac, packet), Err(DropReason::FragmentDuplicate));
            }
        }
        for (number, (trip, whole)) in trips.iter().zip(arrived).enumerate() {
            let whole = whole.expect("the packet arrives");
            prop_assert_eq!(udp_of(&whole), payload(trip.len, number as u8));
        }
        prop_assert_eq!((bench.table.cost(), bench.table.packets(), bench.table.next_deadline()), (0, 0, None));
    }

    #[test]
    fn random_fragments_fare_as_in_the_naive_implementation(
        steps in vec((any::<bool>(), 0_u32..3, 0_usize..5, 1_usize..4, 0_usize..8, any::<bool>(), 0_u8..2, 0_u64..4), 1..60),
    ) {
        let (mut bench, mut naive) = (Bench::default(), Naive::default());
        for (is_v6, ident, unit, units, odd, more, content, seconds) in steps {
            bench.now = bench.now + Duration::from_secs(seconds * 5);
            bench.table.expire(bench.now, &mut bench.drops);
            naive.expire(bench.now);
            let len = if more { units * 8 } else { units * 8 - odd };
            let content: Vec<u8> = (unit * 8..unit * 8 + len).map(|at| if content == 0 { at as u8 } else { 0 }).collect();
            let packet = piece(is_v6, ident, unit * 8, more, &content);
            let Some(fragment) = Fragment::parse(&packet).unwrap() else { continue };
            if fragment.is_whole() { continue }
            let fate = match bench.give(&packet) {
                Ok(None) => Fate::Waits,
                Ok(Some(whole)) => Fate::Whole(whole[if is_v6 { 40 } else { 20 }..].to_vec()),
                Err(DropReason::FragmentDuplicate) => Fate::Duplicate,
                Err(DropReason::FragmentOverlap) => Fate::Overlap,
                Err(other) => panic!("{other:?}"),
            };
            prop_assert_eq!(fate, naive.input(bench.now, &fragment));
        }
    }
}
