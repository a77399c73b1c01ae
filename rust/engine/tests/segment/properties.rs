//! Segmentation of anything, against the plain version and against what every segment must be.

use proptest::collection::vec;
use proptest::prelude::*;
use wirebay_engine::segment::{Capabilities, complete_checksum};
use wirebay_wire::{DropReason, Frame, Gso, GsoKind, Offload, PartialChecksum};

use crate::naive::{Super, ones_sum};
use crate::{EVERYTHING, run};

prop_compose! {
    fn super_segment(longest: usize)(
        kind in any::<[bool; 3]>(), extras in (0_usize..=4, 0_usize..=10), flags in any::<u8>(),
        seq in any::<u32>(),
        ident in any::<u16>(), addresses in any::<[u8; 32]>(), size in 3_u16..2000,
        payload in vec(any::<u8>(), 0..longest), padding in 0_usize..9,
    ) -> Super {
        let [v6, udp, vlan] = kind;
        let (ip_extra, tcp_extra) = (extras.0 * 8, extras.1 * 4);
        Super { v6, udp, vlan, ip_extra, tcp_extra, flags, seq, ident, addresses, size, payload, padding }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn segments_equal_those_of_the_naive_version(whole in super_segment(6000)) {
        let (bytes, offload) = whole.frame();
        let sent = run(&bytes, offload, &Capabilities::PLAIN).unwrap();
        let segments: Vec<_> = sent.iter().map(|(bytes, _)| bytes.clone()).collect();
        prop_assert_eq!(segments, whole.expected());
        prop_assert!(sent.iter().all(|(_, offload)| *offload == Offload::default()));
    }

    #[test]
    fn segments_carry_the_payload_once_and_in_order_with_right_checksums(whole in super_segment(6000)) {
        let (bytes, offload) = whole.frame();
        let mut carried: Vec<u8> = Vec::new();
        for (segment, _) in run(&bytes, offload, &Capabilities::PLAIN).unwrap() {
            let (headers, payload) = segment.split_at(whole.headers());
            let network = &headers[whole.network()..whole.transport()];
            let transport = &segment[whole.transport()..];
            prop_assert!(payload.len() <= usize::from(whole.size));
            prop_assert!(whole.v6 || ones_sum(&[network]) == 0xffff);
            prop_assert_eq!(ones_sum(&[&whole.pseudo(transport.len()), transport]), 0xffff);
            prop_assert!(!whole.udp || transport[6..8] != [0, 0], "0 would mean no checksum");
            if !whole.udp {
                let seq = whole.seq.wrapping_add(carried.len() as u32);
                prop_assert_eq!(&transport[4..8], seq.to_be_bytes());
            }
            carried.extend(payload);
        }
        prop_assert_eq!(carried, whole.payload);
    }

    #[test]
    fn a_port_that_can_gets_the_frame_untouched(whole in super_segment(3000)) {
        let (bytes, offload) = whole.frame();
        prop_assert_eq!(run(&bytes, offload, &EVERYTHING), Ok(vec![(bytes, offload)]));
    }

    #[test]
    fn a_pending_checksum_is_finished_as_the_naive_version_does(whole in super_segment(3000)) {
        let (bytes, offload) = Super { padding: 0, ..whole.clone() }.frame();
        let offload = Offload { gso: None, ..offload };
        let mut expected = bytes.clone();
        expected[whole.checksum_at()..whole.checksum_at() + 2].fill(0);
        whole.seal(&mut expected);
        prop_assert_eq!(run(&bytes, offload, &Capabilities::PLAIN), Ok(vec![(expected, Offload::default())]));
    }

    #[test]
    fn any_checksum_in_any_bytes_is_finished_or_refused(
        bytes in vec(any::<u8>(), 0..200), start in 0_u16..220, offset in 0_u16..220,
    ) {
        let mut done = bytes.clone();
        let result = complete_checksum(&mut done, PartialChecksum { start, offset });
        let (from, at) = (usize::from(start), usize::from(start + offset));
        if at + 2 > bytes.len() {
            prop_assert_eq!((result, done), (Err(DropReason::OffloadInvalid), bytes));
        } else {
            let checksum = !ones_sum(&[&bytes[from..]]);
            let checksum = if offset == 6 && checksum == 0 { 0xffff } else { checksum };
            let mut expected = bytes;
            expected[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
            prop_assert_eq!((result, done), (Ok(()), expected));
        }
    }

    #[test]
    fn any_offload_state_on_any_bytes_is_answered(
        bytes in vec(any::<u8>(), 0..150), offload in hostile_offload(), caps in capabilities(),
    ) {
        check_answer(&bytes, offload, &caps);
    }

    #[test]
    fn a_good_frame_with_a_few_bad_bytes_is_answered(
        whole in super_segment(300), hits in vec((0_usize..120, any::<u8>()), 0..6), keep in 0_usize..500,
        offload in prop::option::of(hostile_offload()), caps in capabilities(),
    ) {
        let (mut bytes, right) = whole.frame();
        for (at, value) in hits {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
        }
        bytes.truncate(keep);
        check_answer(&bytes, offload.unwrap_or(right), &caps);
    }
}

/// No panic, nothing longer than the port takes, nothing pending that the port does not take.
fn check_answer(bytes: &[u8], offload: Offload, caps: &Capabilities) {
    for (bytes, offload) in run(bytes, offload, caps).unwrap_or_default() {
        assert!(caps.takes(&Frame { bytes: &bytes, offload }));
    }
}

fn hostile_offload() -> impl Strategy<Value = Offload> {
    let near = || prop_oneof![0_u16..140, any::<u16>(), Just(34_u16), Just(54), Just(6), Just(16)];
    let kind = prop_oneof![Just(GsoKind::TcpV4), Just(GsoKind::TcpV6), Just(GsoKind::Udp)];
    let gso = (kind, near(), near()).prop_map(|(kind, size, header_len)| Gso { kind, size, header_len });
    let checksum = (near(), near()).prop_map(|(start, offset)| PartialChecksum { start, offset });
    (prop::option::of(checksum), prop::option::of(gso), any::<bool>())
        .prop_map(|(checksum, gso, checksum_valid)| Offload { checksum, gso, checksum_valid })
}

fn capabilities() -> impl Strategy<Value = Capabilities> {
    (any::<[bool; 4]>(), prop_oneof![Just(69_632), Just(1514), 0_usize..200]).prop_map(|(can, max_frame)| {
        let [checksum, tso4, tso6, uso] = can;
        Capabilities { checksum, tso4, tso6, uso, max_frame }
    })
}
