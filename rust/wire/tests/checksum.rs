//! The checksum against the shortest program that is right (RFC 1071 section 4.1).

use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::collection::vec;
use proptest::prelude::*;
use wirebay_wire::checksum::{add, finish, fold, pseudo_v4, pseudo_v6};

/// One's complement sum, one word at a time, folded at each step.
fn naive(data: &[u8]) -> u16 {
    let mut sum = 0_u32;
    for word in data.chunks(2) {
        let low = word.get(1).copied().unwrap_or(0);
        sum += u32::from(u16::from_be_bytes([word[0], low]));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

proptest! {
    #[test]
    fn equals_the_naive_sum_at_every_length_and_alignment(
        data in vec(any::<u8>(), 0..700), skip in 0_usize..16,
    ) {
        let data = &data[skip.min(data.len())..];
        prop_assert_eq!(fold(add(0, data)), naive(data));
        prop_assert_eq!(finish(add(0, data)), !naive(data));
    }

    #[test]
    fn pieces_of_even_length_add_up(data in vec(any::<u8>(), 0..600), cuts in vec(0_usize..300, 0..6)) {
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| (cut * 2).min(data.len() & !1)).collect();
        cuts.sort_unstable();
        let (mut sum, mut from) = (0, 0);
        for cut in cuts {
            sum = add(sum, &data[from..cut]);
            from = cut;
        }
        prop_assert_eq!(fold(add(sum, &data[from..])), naive(&data));
    }

    #[test]
    fn any_partial_sum_may_come_first(start in any::<u32>(), data in vec(any::<u8>(), 0..100)) {
        let mut bytes = start.to_be_bytes().to_vec();
        bytes.extend(&data);
        prop_assert_eq!(fold(add(start, &data)), naive(&bytes));
    }

    #[test]
    fn a_sum_with_its_checksum_is_all_ones(mut data in vec(any::<u8>(), 2..200), at in 0_usize..99) {
        let at = (at * 2).min((data.len() - 2) & !1);
        data[at..at + 2].fill(0);
        let checksum = finish(add(0, &data));
        data[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
        prop_assert_eq!(fold(add(0, &data)), 0xffff);
    }

    #[test]
    fn pseudo_headers_equal_their_bytes(v4: [[u8; 4]; 2], v6: [[u8; 16]; 2], protocol: u8, len: u32) {
        let tail = [&[0, protocol][..], &len.to_be_bytes()].concat();
        let [src, dst] = v4.map(Ipv4Addr::from);
        let bytes = [&v4.concat(), &tail[..]].concat();
        prop_assert_eq!(fold(pseudo_v4(src, dst, protocol, len as usize)), naive(&bytes));
        let [src, dst] = v6.map(Ipv6Addr::from);
        let bytes = [&v6.concat(), &tail[..]].concat();
        prop_assert_eq!(fold(pseudo_v6(src, dst, protocol, len as usize)), naive(&bytes));
    }
}

#[test]
fn every_length_up_to_a_jumbo_packet_of_ones_is_right() {
    let data = vec![0xff; 9100];
    for len in 0..data.len() {
        assert_eq!(fold(add(0, &data[..len])), naive(&data[..len]), "{len}");
    }
}
