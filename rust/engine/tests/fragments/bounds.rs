//! What is held is bounded, and who floods pays for it.

use super::pieces::{Bench, GUEST, OTHER, cut, piece, udp_of};
use wirebay_engine::user::reassembly::{Limits, Reassembly};
use wirebay_wire::{DropReason, Mac};

fn station(number: u32) -> Mac {
    let [_, a, b, c] = number.to_be_bytes();
    Mac([2, 0, 0, a, b, c])
}

#[test]
fn the_longest_packets_of_both_families_arrive_and_leave_nothing_behind() {
    for (is_v6, longest) in [(false, 65_507), (true, 65_527)] {
        let mut bench = Bench::default();
        let packets = cut(is_v6, &vec![9; longest], 1500, 5);
        let (last, others) = packets.split_last().unwrap();
        for packet in others {
            bench.waits(GUEST, packet);
        }
        assert!(bench.table.cost() > longest - 1500);
        let whole = bench.give(last).unwrap().unwrap();
        assert_eq!(udp_of(&whole).len(), longest);
        assert_eq!((bench.table.cost(), bench.drops.total()), (0, 0));
    }
}

#[test]
fn a_packet_that_gets_too_long_with_its_own_headers_is_refused() {
    // The header of the last fragment has no options, that of the first has: together they are too long.
    let mut bench = Bench::default();
    bench.waits(GUEST, &piece(false, 1, 65_512, false, &[1; 3]));
    let mut first = piece(false, 1, 0, true, &[0; 8]);
    first.splice(20..20, [1; 4]);
    first[0] = 0x46;
    wirebay_wire::fragment::FragmentRepr { ident: 1, offset: 0, more: true }.emit_v4(&mut first);
    assert_eq!(bench.give(&first), Err(DropReason::FragmentOverlap));
}

#[test]
fn each_contradiction_spoils_the_packet_for_good() {
    let (first, last) = ((0, true, [1; 16]), (16, false, [2; 16]));
    let contradictions = [
        (first, (8, true, [1; 16])),
        (first, (0, true, [9; 16])),
        (last, (16, true, [2; 16])),
        (last, (8, false, [2; 16])),
        (last, (32, true, [2; 16])),
        (last, (40, false, [2; 16])),
    ];
    for is_v6 in [false, true] {
        for (one, two) in contradictions {
            let mut bench = Bench::default();
            let piece =
                |(offset, more, bytes): (usize, bool, [u8; 16])| piece(is_v6, 3, offset, more, &bytes);
            bench.waits(GUEST, &piece(one));
            let overlap = Err(DropReason::FragmentOverlap);
            assert_eq!(bench.give(&piece(two)), overlap, "{one:?} {two:?}");
            let cost = bench.table.cost();
            for again in [first, last] {
                assert_eq!(bench.give(&piece(again)), overlap);
            }
            assert_eq!(bench.table.cost(), cost, "nothing is kept of a spoiled packet");
            assert_eq!(bench.drops.get(DropReason::FragmentOverlap), 4);
        }
    }
}

#[test]
fn a_packet_of_too_many_pieces_is_spoiled() {
    let mut bench = Bench::default();
    for number in 0..128 {
        bench.waits(GUEST, &piece(false, 1, number * 16, true, &[0; 8]));
    }
    assert_eq!(bench.give(&piece(false, 1, 128 * 16, true, &[0; 8])), Err(DropReason::FragmentLimit));
    assert_eq!(bench.drops.get(DropReason::FragmentLimit), 129);
    assert!(bench.table.cost() < 1000);
}

#[test]
fn a_station_at_its_bound_loses_its_own_oldest_packet() {
    let mut bench = Bench::default();
    bench.waits(OTHER, &piece(false, 0, 0, true, &[5; 8]));
    for ident in 0..65 {
        bench.now.0 += 1;
        bench.waits(GUEST, &piece(false, ident, 0, true, &[5; 8]));
    }
    assert_eq!((bench.table.packets(), bench.drops.get(DropReason::FragmentLimit)), (65, 1));
    assert!(bench.give(&piece(false, 1, 8, false, &[6; 8])).unwrap().is_some(), "the second is there");
    assert!(bench.give_from(OTHER, &piece(false, 0, 8, false, &[6; 8])).unwrap().is_some());
    bench.waits(GUEST, &piece(false, 0, 8, false, &[6; 8]));
}

#[test]
fn a_flood_of_fragments_stays_within_the_bounds_and_leaves_others_their_packets() {
    let limits = Limits::default();
    let mut bench = Bench::default();
    let packets = cut(false, &[9; 3000], 1500, 77);
    for round in 0..2000_u32 {
        for (number, packet) in packets.iter().enumerate() {
            for ident in 0..20 {
                let ident = round * 100 + number as u32 * 20 + ident;
                let flood = piece(true, ident, 8 * (ident as usize % 50), true, &[0; 1200]);
                let _ = bench.give_from(station(ident % 50), &flood);
            }
            bench.now.0 += 1;
            assert!(bench.table.cost() <= limits.cost && bench.table.packets() <= limits.packets);
            let whole = bench.give_from(GUEST, packet).unwrap();
            assert_eq!(whole.is_some(), number == 2, "every packet of the quiet guest arrives");
        }
    }
    assert!(bench.drops.get(DropReason::FragmentLimit) > 100_000);
}

#[test]
fn a_packet_that_has_no_room_with_its_own_pieces_is_given_up() {
    let limits = Limits { station_cost: 2000, ..Limits::default() };
    let mut bench = Bench::of(Reassembly::new(limits));
    bench.waits(GUEST, &piece(false, 1, 0, true, &[0; 1000]));
    assert_eq!(bench.give(&piece(false, 1, 1000, true, &[0; 1000])), Err(DropReason::FragmentLimit));
    assert_eq!((bench.table.cost(), bench.drops.get(DropReason::FragmentLimit)), (0, 2));
    let huge = piece(false, 2, 0, true, &[0; 3000]);
    assert_eq!(bench.give(&huge), Err(DropReason::FragmentLimit), "nor what has no room alone");
}

#[test]
fn packets_of_two_stations_with_the_same_addresses_do_not_mix() {
    let mut bench = Bench::default();
    bench.waits(GUEST, &piece(true, 1, 0, true, &[5; 8]));
    bench.waits(OTHER, &piece(true, 1, 0, true, &[6; 16]));
    assert!(bench.give(&piece(true, 1, 8, false, &[5; 8])).unwrap().is_some());
}
