//! What segmentation must do in cases that chance does not find.

use wirebay_engine::segment::{Capabilities, complete_checksum};
use wirebay_wire::{DropReason, Frame, Gso, Offload, PartialChecksum};

use crate::naive::Super;
use crate::{EVERYTHING, run};

/// A TCP super-segment over IPv4 with `len` bytes of payload.
fn tcp(len: usize, size: u16) -> Super {
    Super {
        v6: false,
        udp: false,
        vlan: false,
        ip_extra: 0,
        tcp_extra: 12,
        flags: 0x18,
        seq: 0xffff_f000,
        ident: 0xfffe,
        addresses: [10; 32],
        size,
        payload: (0..len).map(|at| (at % 251) as u8).collect(),
        padding: 0,
    }
}

#[test]
fn the_largest_super_segment_becomes_46_segments_with_wrapped_numbers() {
    let whole = tcp(65_535 - 52, 1448);
    let (bytes, offload) = whole.frame();
    let sent = run(&bytes, offload, &Capabilities::PLAIN).unwrap();
    assert_eq!(sent.len(), 46);
    assert!(sent.iter().map(|(bytes, _)| bytes).eq(&whole.expected()));
    assert_eq!(sent[2].0[18..20], [0, 0], "the identification wraps");
    assert_eq!(sent[3].0[38..42], [0, 0, 0, 0xf8], "the sequence number wraps");
}

#[test]
fn fin_and_push_are_on_the_last_segment_and_cwr_on_the_first() {
    let whole = Super { flags: 0b1101_1001, ..tcp(25, 10) };
    let (bytes, offload) = whole.frame();
    let sent = run(&bytes, offload, &Capabilities::PLAIN).unwrap();
    let flags: Vec<u8> = sent.iter().map(|(bytes, _)| bytes[47]).collect();
    assert_eq!(flags, [0b1101_0000, 0b0101_0000, 0b0101_1001]);
}

#[test]
fn a_udp_checksum_of_zero_is_sent_as_all_ones() {
    let mut whole = Super { udp: true, addresses: [0; 32], ..tcp(4, 2) };
    // Of each datagram: length twice, protocol, ports; the payload completes the sum to 0xffff.
    let rest = 0xffff - (2 * 10 + 17 + 0x1234 + 0x50);
    whole.payload = [rest as u16, rest as u16].map(u16::to_be_bytes).concat();
    let (bytes, offload) = whole.frame();
    let sent = run(&bytes, offload, &Capabilities::PLAIN).unwrap();
    assert_eq!(sent.len(), 2);
    assert!(sent.iter().all(|(bytes, _)| bytes[40..42] == [0xff, 0xff]));
}

#[test]
fn headers_without_payload_are_one_segment() {
    let whole = tcp(0, 1448);
    let (bytes, offload) = whole.frame();
    let sent = run(&bytes, offload, &Capabilities::PLAIN).unwrap();
    assert_eq!(sent, [(whole.expected().remove(0), Offload::default())]);
}

#[test]
fn a_port_that_knows_checksums_is_told_that_they_are_right() {
    let (bytes, offload) = tcp(5000, 1448).frame();
    let caps = Capabilities { checksum: true, ..Capabilities::PLAIN };
    let valid = Offload { checksum_valid: true, ..Offload::default() };
    assert!(run(&bytes, offload, &caps).unwrap().iter().all(|(_, offload)| *offload == valid));
}

#[test]
fn only_a_udp_checksum_is_never_finished_as_zero() {
    for (offset, finished) in [(6, [0xff, 0xff]), (16, [0, 0]), (2, [0, 0])] {
        let mut bytes = [0; 40];
        bytes[30..32].fill(0xff);
        complete_checksum(&mut bytes, PartialChecksum { start: 10, offset }).unwrap();
        let at = 10 + usize::from(offset);
        assert_eq!(bytes[at..at + 2], finished, "{offset}");
    }
}

#[test]
fn a_super_segment_without_a_pending_checksum_needs_the_ability_all_the_same() {
    let (bytes, offload) = tcp(100, 50).frame();
    let frame = Frame { bytes: &bytes, offload: Offload { checksum: None, ..offload } };
    assert!(!Capabilities { checksum: false, ..EVERYTHING }.takes(&frame));
}

#[test]
fn each_kind_needs_its_own_ability() {
    for (v6, udp) in [(false, false), (true, false), (false, true), (true, true)] {
        let (bytes, offload) = Super { v6, udp, ..tcp(100, 50) }.frame();
        let frame = Frame { bytes: &bytes, offload };
        let needed = [!udp && !v6, !udp && v6, udp];
        let caps = |[tso4, tso6, uso]: [bool; 3]| Capabilities { tso4, tso6, uso, ..EVERYTHING };
        assert!(caps(needed).takes(&frame));
        assert!(!caps(needed.map(|need| !need)).takes(&frame));
        assert!(!Capabilities { checksum: false, ..EVERYTHING }.takes(&frame));
        assert!(!Capabilities { max_frame: bytes.len() - 1, ..EVERYTHING }.takes(&frame));
    }
}

#[test]
fn what_is_longer_than_the_port_takes_is_refused_before_anything_goes_out() {
    let (bytes, offload) = tcp(5000, 1448).frame();
    let pending = Offload { gso: None, ..offload };
    for (len, offload, sent) in [(bytes.len(), offload, 4), (1514, pending, 1), (1514, Offload::default(), 1)]
    {
        let up_to = |max_frame| {
            let caps = Capabilities { max_frame, ..Capabilities::PLAIN };
            run(&bytes[..len], offload, &caps).map(|sent| sent.len())
        };
        assert_eq!(up_to(1514), Ok(sent));
        assert_eq!(up_to(1513), Err(DropReason::FrameTooLong));
    }
}

#[test]
fn a_super_segment_with_bad_headers_is_refused() {
    let (bytes, offload) = tcp(5000, 1448).frame();
    let refused = |bytes: &[u8], offload| {
        assert_eq!(run(bytes, offload, &Capabilities::PLAIN), Err(DropReason::SegmentFailed));
    };
    let with = |at: usize, value: u8| {
        let mut bytes = bytes.clone();
        bytes[at] = value;
        bytes
    };
    refused(&with(14, 0x55), offload);
    refused(&with(20, 0x20), offload);
    refused(&with(23, 17), offload);
    refused(&with(46, 0x40), offload);
    refused(&bytes[..bytes.len() - 1], offload);
    refused(&bytes, Offload { checksum: None, ..offload });
    let zero = offload.gso.map(|gso| Gso { size: 0, ..gso });
    refused(&bytes, Offload { gso: zero, ..offload });
}

#[test]
fn a_segment_over_the_longest_ip_packet_is_refused() {
    let mut whole = tcp(66_000, 65_500);
    let (mut bytes, offload) = whole.frame();
    bytes[16..18].fill(0);
    assert_eq!(run(&bytes, offload, &Capabilities::PLAIN), Err(DropReason::SegmentFailed));
    whole.size = 65_535 - 52;
    let (mut bytes, offload) = whole.frame();
    bytes[16..18].fill(0);
    assert_eq!(run(&bytes, offload, &Capabilities::PLAIN).map(|sent| sent.len()), Ok(2));
}

#[test]
fn a_super_segment_of_more_segments_than_any_sender_means_is_refused() {
    use wirebay_engine::segment::adapt;
    let most = 2048;
    for (udp, size) in [(false, 1), (true, 1), (false, 7)] {
        let fits = Super { udp, ..tcp(most * usize::from(size), size) };
        let (bytes, offload) = fits.frame();
        assert!((Frame { bytes: &bytes, offload }).checked().is_ok());
        assert_eq!(run(&bytes, offload, &Capabilities::PLAIN).map(|sent| sent.len()), Ok(most));
        let (bytes, offload) = Super { udp, ..tcp(most * usize::from(size) + 1, size) }.frame();
        let frame = Frame { bytes: &bytes, offload };
        assert_eq!(frame.checked(), Err(DropReason::OffloadInvalid));
        let adapted =
            adapt(&frame, &Capabilities::PLAIN, &mut Vec::new(), &mut |_| panic!("nothing is sent"));
        assert_eq!(adapted, Err(DropReason::SegmentFailed));
    }
}

#[test]
fn the_least_segments_that_linux_makes_fill_a_super_segment() {
    let (bytes, offload) = tcp(65_535 - 52, 36).frame();
    assert_eq!(run(&bytes, offload, &Capabilities::PLAIN).map(|sent| sent.len()), Ok(1819));
}
