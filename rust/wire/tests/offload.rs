//! Offload headers, and whether they fit the frame they came with.

// The helpers make what the optional fields of an offload state take.
#![allow(clippy::unnecessary_wraps)]

use wirebay_wire::layout::Layout;
use wirebay_wire::{DropReason, Frame, Gso, GsoKind, Offload, PartialChecksum, vnet};

const TCP: u8 = 6;
const UDP: u8 = 17;

/// An IPv4 frame whose transport header starts at 34: length fields right, checksums 0, 100 bytes of payload.
fn frame_v4(protocol: u8, transport_len: usize) -> Vec<u8> {
    let mut frame = vec![0; 14 + 20 + transport_len + 100];
    frame[12..14].copy_from_slice(&[8, 0]);
    frame[14] = 0x45;
    frame[17] = (20 + transport_len + 100) as u8;
    frame[23] = protocol;
    if protocol == TCP {
        frame[34 + 12] = (transport_len as u8) << 2;
    }
    frame
}

fn frame_v6(protocol: u8, transport_len: usize) -> Vec<u8> {
    let mut frame = vec![0; 14 + 40];
    frame[12..14].copy_from_slice(&[0x86, 0xdd]);
    frame[14] = 0x60;
    frame[19] = (transport_len + 100) as u8;
    frame[20] = protocol;
    frame.extend(&frame_v4(protocol, transport_len)[34..]);
    frame
}

fn pending(start: u16, offset: u16) -> Option<PartialChecksum> {
    Some(PartialChecksum { start, offset })
}

fn gso(kind: GsoKind, size: u16) -> Option<Gso> {
    Some(Gso { kind, size, header_len: 9999 })
}

fn header_len(bytes: &[u8], offload: Offload) -> Result<u16, DropReason> {
    Frame { bytes, offload }.checked().map(|frame| frame.offload.gso.unwrap().header_len)
}

#[test]
fn the_bytes_of_a_header_are_where_virtio_puts_them() {
    let header = [1, 0x81, 66, 0, 0xb4, 5, 34, 0, 16, 0, 7, 7];
    let offload = vnet::parse(&header).unwrap();
    let gso = Gso { kind: GsoKind::TcpV4, size: 1460, header_len: 66 };
    assert_eq!(offload, Offload { checksum: pending(34, 16), gso: Some(gso), checksum_valid: false });
    let mut written = [0xff; 12];
    vnet::emit(&offload, &mut written);
    assert_eq!(written, [1, 1, 66, 0, 0xb4, 5, 34, 0, 16, 0, 0, 0], "without the ECN bit and the buffers");
}

#[test]
fn unknown_flags_are_ignored_and_fields_without_their_flag_too() {
    let header = [0xfc, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10];
    assert_eq!(vnet::parse(&header), Ok(Offload::default()));
    let header = [0xfe, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10];
    assert_eq!(vnet::parse(&header).map(|offload| offload.checksum_valid), Ok(true));
}

#[test]
fn headers_that_contradict_themselves_are_refused() {
    let refused = |change: &dyn Fn(&mut [u8; 12])| {
        let mut header = [1, 1, 54, 0, 0xb4, 5, 34, 0, 16, 0, 0, 0];
        assert!(vnet::parse(&header).is_ok());
        change(&mut header);
        assert_eq!(vnet::parse(&header), Err(DropReason::OffloadInvalid), "{header:?}");
    };
    refused(&|h| h[0] = 0);
    refused(&|h| h[4..6].fill(0));
    refused(&|h| h[6..10].fill(0xff));
    for kind in [2, 3, 6, 0x40, 0x83] {
        refused(&|h| h[1] = kind);
    }
}

#[test]
fn a_frame_has_the_length_of_a_frame() {
    let bytes = vec![0; 69_633];
    assert_eq!(Frame::plain(&bytes[..13]).validate(), Err(DropReason::FrameTooShort));
    assert_eq!(Frame::plain(&bytes[..14]).validate(), Ok(()));
    assert_eq!(Frame::plain(&bytes[..69_632]).validate(), Ok(()));
    assert_eq!(Frame::plain(&bytes).validate(), Err(DropReason::FrameTooLong));
}

#[test]
fn a_pending_checksum_lies_within_the_frame() {
    let bytes = [0; 60];
    let validate =
        |checksum| Frame { bytes: &bytes, offload: Offload { checksum, ..Offload::default() } }.validate();
    assert_eq!(validate(pending(42, 16)), Ok(()));
    for bad in [pending(43, 16), pending(42, 17), pending(59, 0), pending(0xffff, 0xffff), pending(0, 59)] {
        assert_eq!(validate(bad), Err(DropReason::OffloadInvalid));
    }
}

#[test]
fn the_header_length_comes_from_the_bytes() {
    let offload = |kind, start, offset| Offload {
        checksum: pending(start, offset),
        gso: gso(kind, 10),
        checksum_valid: false,
    };
    assert_eq!(header_len(&frame_v4(TCP, 32), offload(GsoKind::TcpV4, 34, 16)), Ok(66));
    assert_eq!(header_len(&frame_v6(TCP, 20), offload(GsoKind::TcpV6, 54, 16)), Ok(74));
    assert_eq!(header_len(&frame_v4(UDP, 8), offload(GsoKind::Udp, 34, 6)), Ok(42));
    assert_eq!(header_len(&frame_v6(UDP, 8), offload(GsoKind::Udp, 54, 6)), Ok(62));
}

#[test]
fn a_super_segment_must_be_what_it_says() {
    let refused = |bytes: &[u8], kind, size, checksum| {
        let offload = Offload { checksum, gso: gso(kind, size), checksum_valid: false };
        assert_eq!(Frame { bytes, offload }.validate(), Err(DropReason::OffloadInvalid));
    };
    let tcp = frame_v4(TCP, 20);
    refused(&tcp, GsoKind::TcpV6, 10, pending(34, 16));
    refused(&tcp, GsoKind::Udp, 10, pending(34, 16));
    refused(&tcp, GsoKind::TcpV4, 0, pending(34, 16));
    refused(&tcp, GsoKind::TcpV4, 10, pending(36, 14));
    refused(&tcp, GsoKind::TcpV4, 10, pending(34, 6));
    refused(&tcp, GsoKind::TcpV4, 10, None);
    refused(&frame_v6(TCP, 20), GsoKind::TcpV4, 10, pending(54, 16));
    refused(&frame_v4(1, 8), GsoKind::TcpV4, 10, pending(34, 16));
}

#[test]
fn a_layout_steps_over_vlan_tags_and_cuts_padding() {
    let plain = frame_v4(UDP, 8);
    let mut tagged = plain.clone();
    tagged.splice(12..12, [0x88, 0xa8, 0, 1, 0x81, 0, 0, 2]);
    tagged.extend([0; 7]);
    let (plain, tagged) = (Layout::of(&plain).unwrap(), Layout::of(&tagged).unwrap());
    assert_eq!((plain.network, plain.transport, plain.payload, plain.end), (14, 34, 42, 142));
    assert_eq!((tagged.network, tagged.transport, tagged.payload, tagged.end), (22, 42, 50, 150));
}

#[test]
fn a_layout_takes_two_tags_and_no_more() {
    let mut frame = frame_v4(UDP, 8);
    frame.splice(12..12, [0x81, 0, 0, 1].repeat(3));
    assert_eq!(Layout::of(&frame), None);
}

#[test]
fn a_layout_steps_over_ip_options_and_extension_headers() {
    let mut v4 = frame_v4(UDP, 8);
    v4[14] = 0x46;
    v4[17] += 4;
    v4.splice(34..34, [1, 1, 1, 0]);
    assert_eq!(Layout::of(&v4).map(|at| (at.transport, at.payload)), Some((38, 46)));
    let mut v6 = frame_v6(UDP, 8);
    v6[20] = 60;
    v6[19] += 8;
    v6.splice(54..54, [UDP, 0, 1, 4, 0, 0, 0, 0]);
    assert_eq!(Layout::of(&v6).map(|at| (at.transport, at.payload)), Some((62, 70)));
}

#[test]
fn a_layout_is_refused_where_headers_do_not_fit() {
    let none = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut frame = frame_v4(TCP, 20);
        assert!(Layout::of(&frame).is_some());
        change(&mut frame);
        assert_eq!(Layout::of(&frame), None, "{frame:?}");
    };
    none(&|f| f[14] = 0x65);
    none(&|f| f[14] = 0x44);
    none(&|f| f[17] = 39);
    none(&|f| f[17] = 200);
    none(&|f| f[20] = 0x20);
    none(&|f| f[21] = 1);
    none(&|f| f[23] = 1);
    none(&|f| f[46] = 0x40);
    none(&|f| (f[17], f[46]) = (79, 0xf0));
    none(&|f| f.truncate(53));
    none(&|f| f.truncate(13));
    let mut v6 = frame_v6(TCP, 20);
    v6[14] = 0x50;
    assert_eq!(Layout::of(&v6), None);
}

#[test]
fn an_ip_length_of_zero_stands_for_the_rest_of_the_frame() {
    let (mut v4, mut v6) = (frame_v4(TCP, 20), frame_v6(TCP, 20));
    (v4[17], v6[19]) = (0, 0);
    assert_eq!(Layout::of(&v4).map(|at| at.end), Some(v4.len()));
    assert_eq!(Layout::of(&v6).map(|at| at.end), Some(v6.len()));
}
