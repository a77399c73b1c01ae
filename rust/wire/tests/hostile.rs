//! Bytes that nobody vouches for: every parser answers, none panics, and what it hands out lies where it
//! says.

use proptest::collection::vec;
use proptest::prelude::*;
use wirebay_wire::arp::Arp;
use wirebay_wire::ethernet::Ethernet;
use wirebay_wire::fragment::{self, Fragment};
use wirebay_wire::icmpv4::Icmp;
use wirebay_wire::ipv4::Ipv4;
use wirebay_wire::ipv6::Ipv6;
use wirebay_wire::layout::Layout;
use wirebay_wire::tcp::Tcp;
use wirebay_wire::udp::Udp;
use wirebay_wire::{Frame, checksum, vnet};

/// Everything that reads bytes, on one input.
fn parse_all(bytes: &[u8]) {
    let _ = Ethernet::parse(bytes).map(|read| parse_network(read.payload));
    parse_network(bytes);
    if let Some(layout) = Layout::of(bytes) {
        assert!(layout.network < layout.transport && layout.transport < layout.payload);
        assert!(layout.payload <= layout.end && layout.end <= bytes.len());
    }
    if let Some((header, rest)) = bytes.split_first_chunk::<{ vnet::LEN }>()
        && let Ok(offload) = vnet::parse(header)
    {
        check_frame(Frame { bytes: rest, offload });
    }
}

fn parse_network(bytes: &[u8]) {
    let _ = Arp::parse(bytes);
    if let Ok(ip) = Ipv4::parse(bytes) {
        assert!(ip.header.len() + ip.payload.len() <= bytes.len());
        parse_transport(ip.payload);
    }
    if let Ok(ip) = Ipv6::parse(bytes) {
        assert!(bytes[ip.transport_offset..].starts_with(ip.payload));
        parse_transport(ip.payload);
    }
    if let Ok(Some(piece)) = Fragment::parse(bytes) {
        assert!(bytes.starts_with(piece.packet) && piece.packet.ends_with(piece.payload));
        assert!(piece.head_len + piece.payload.len() <= piece.packet.len() && piece.end() <= 65_535);
        // Whatever its headers are, a whole packet of them is none of a fragment.
        let mut whole = [&piece.packet[..piece.head_len], piece.payload].concat();
        fragment::make_whole(&mut whole, piece.next_header);
        if piece.offset == 0 && whole[0] >> 4 == 4 {
            assert_eq!(Fragment::parse(&whole), Ok(None));
        }
    }
    parse_transport(bytes);
}

fn parse_transport(bytes: &[u8]) {
    if let Ok(tcp) = Tcp::parse(bytes) {
        assert_eq!(tcp.header_len + tcp.payload.len(), bytes.len());
        assert!(tcp.window_scale.is_none_or(|shift| shift <= 14));
    }
    let _ = Udp::parse(bytes);
    let _ = Icmp::parse(bytes);
}

fn check_frame(frame: Frame<'_>) {
    assert_eq!(frame.validate().is_ok(), frame.checked().is_ok());
    if let Ok(frame) = frame.checked() {
        let len = frame.bytes.len();
        assert!(frame.offload.checksum.is_none_or(|partial| partial.end() <= len));
        assert!(frame.offload.gso.is_none_or(|gso| usize::from(gso.header_len) <= len && gso.size > 0));
    }
}

/// Bytes that start like a frame, so that random ones get past the first checks.
fn framed() -> impl Strategy<Value = Vec<u8>> {
    let ethertype = prop_oneof![Just([8, 0]), Just([8, 6]), Just([0x86, 0xdd]), Just([0x81, 0])];
    let start = prop_oneof![0x44_u8..0x48, 0x60_u8..0x62, any::<u8>()];
    let protocol = prop_oneof![Just(6_u8), Just(17), Just(1), Just(0), Just(44), Just(60), any::<u8>()];
    (ethertype, start, protocol, vec(any::<u8>(), 0..120)).prop_map(
        |(ethertype, start, protocol, mut rest)| {
            for (at, value) in [(0, start), (2, 0), (4, 0), (6, protocol), (9, protocol)] {
                if let Some(byte) = rest.get_mut(at) {
                    *byte = value;
                }
            }
            repair_v4(&mut rest);
            [&[0x52; 12][..], &ethertype, &rest].concat()
        },
    )
}

/// Makes the header checksum right, where there is one.
fn repair_v4(packet: &mut [u8]) {
    let header_len = packet.first().map_or(0, |first| usize::from(first & 15) * 4);
    if header_len >= 20 && packet.len() >= header_len {
        packet[10..12].fill(0);
        let sum = checksum::finish(checksum::add(0, &packet[..header_len]));
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn arbitrary_bytes_do_not_panic(bytes in vec(any::<u8>(), 0..200)) {
        parse_all(&bytes);
    }

    #[test]
    fn arbitrary_bytes_that_start_like_frames_do_not_panic(bytes in framed()) {
        parse_all(&bytes);
    }

    #[test]
    fn arbitrary_offload_headers_do_not_panic(
        header: [u8; 12], flags in 0_u8..4, kind in 0_u8..6, bytes in framed(),
    ) {
        let mut header = header;
        (header[0], header[1]) = (flags, kind);
        parse_all(&[&header[..], &bytes].concat());
    }
}

/// A million frames, the same each time: a small generator of its own (xorshift), so that speed is not an
/// excuse.
#[test]
fn a_million_random_and_mutated_frames_do_not_panic() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut good = vec![0; 12 + 14 + 20 + 24 + 40];
    good[..12].copy_from_slice(&[1, 1, 0, 0, 8, 0, 34, 0, 16, 0, 0, 0]);
    good[24..26].copy_from_slice(&[8, 0]);
    good[26..46].copy_from_slice(&[0x45, 0, 0, 84, 0, 1, 0, 0, 64, 6, 0, 0, 10, 0, 2, 15, 10, 0, 2, 2]);
    good[58..60].copy_from_slice(&[0x60, 0x18]);
    repair_v4(&mut good[26..]);
    for _ in 0..1_000_000 {
        let mut frame = good.clone();
        for _ in 0..random() % 8 {
            let at = random() as usize % frame.len();
            frame[at] = random() as u8;
        }
        frame.truncate(random() as usize % (frame.len() * 3));
        parse_all(&frame);
        parse_all(frame.get(12..).unwrap_or(&[]));
    }
}
