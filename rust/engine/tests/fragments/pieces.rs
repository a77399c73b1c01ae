//! Fragments made by hand, and packets to cut.

use std::net::{Ipv4Addr, Ipv6Addr};
use wirebay_engine::user::fragmenting;
use wirebay_engine::user::reassembly::Reassembly;
use wirebay_engine::{Drops, Outbox, Time};
use wirebay_wire::ethernet::{self, ethertype};
use wirebay_wire::fragment::{self, Fragment, FragmentRepr};
use wirebay_wire::ipv4::{self, Ipv4Repr, protocol};
use wirebay_wire::ipv6::{self, Ipv6Repr, extension};
use wirebay_wire::udp::{self, UdpRepr};
use wirebay_wire::{DropReason, Mac, PartialChecksum, checksum};

pub const GUEST: Mac = Mac([0x52, 0x54, 0, 0x12, 0x34, 0x56]);
pub const OTHER: Mac = Mac([0x52, 0x54, 0, 0x12, 0x34, 0x57]);

const V4: (Ipv4Addr, Ipv4Addr) = (Ipv4Addr::new(10, 0, 2, 15), Ipv4Addr::new(192, 0, 2, 1));
const V6: (Ipv6Addr, Ipv6Addr) =
    (Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 15), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));

fn head(is_v6: bool, payload_len: usize) -> Vec<u8> {
    let mut packet = vec![0; if is_v6 { ipv6::HEADER_LEN } else { ipv4::HEADER_LEN }];
    if is_v6 {
        let next_header = protocol::UDP;
        Ipv6Repr { src: V6.0, dst: V6.1, next_header, hop_limit: 64, payload_len }.emit(&mut packet);
    } else {
        let (src, dst, protocol) = (V4.0, V4.1, protocol::UDP);
        let ip = Ipv4Repr { src, dst, protocol, ttl: 64, ident: 0, dont_fragment: true, payload_len };
        ip.emit(&mut packet);
    }
    packet
}

/// One fragment of a UDP packet.
pub fn piece(is_v6: bool, ident: u32, offset: usize, more: bool, payload: &[u8]) -> Vec<u8> {
    let repr = FragmentRepr { ident, offset, more };
    let added = if is_v6 { fragment::HEADER_LEN } else { 0 };
    let mut packet = head(is_v6, added + payload.len());
    if is_v6 {
        packet[ipv6::NEXT_HEADER_OFFSET] = extension::FRAGMENT;
        let mut header = [0; fragment::HEADER_LEN];
        repr.emit_v6(&mut header, protocol::UDP);
        packet.extend(header);
    }
    packet.extend(payload);
    if !is_v6 {
        repr.emit_v4(&mut packet);
    }
    packet
}

/// The whole UDP packet of this payload as a frame, and its checksum that is still to be finished.
pub fn datagram(is_v6: bool, payload: &[u8]) -> (Vec<u8>, PartialChecksum) {
    let len = udp::HEADER_LEN + payload.len();
    let mut frame = vec![0; ethernet::HEADER_LEN];
    let kind = if is_v6 { ethertype::IPV6 } else { ethertype::IPV4 };
    ethernet::emit(&mut frame, GUEST, OTHER, kind);
    frame.extend(head(is_v6, len));
    let start = frame.len();
    frame.extend([0; udp::HEADER_LEN]);
    frame.extend(payload);
    UdpRepr { src_port: 9, dst_port: 4000, payload_len: payload.len() }.emit(&mut frame[start..]);
    let sum = pseudo(is_v6, len);
    frame[start + udp::CHECKSUM_OFFSET..][..2].copy_from_slice(&checksum::fold(sum).to_be_bytes());
    (frame, PartialChecksum { start: start as u16, offset: udp::CHECKSUM_OFFSET as u16 })
}

fn pseudo(is_v6: bool, len: usize) -> u32 {
    if is_v6 {
        checksum::pseudo_v6(V6.0, V6.1, protocol::UDP, len)
    } else {
        checksum::pseudo_v4(V4.0, V4.1, protocol::UDP, len)
    }
}

/// The UDP datagram in a whole packet, of which header and checksums have been verified.
pub fn udp_of(packet: &[u8]) -> &[u8] {
    let is_v6 = packet[0] >> 4 == 6;
    let datagram = if is_v6 {
        let ip = ipv6::Ipv6::parse(packet).unwrap();
        assert_eq!((ip.next_header, ip.src, ip.dst), (protocol::UDP, V6.0, V6.1));
        ip.payload
    } else {
        let ip = ipv4::Ipv4::parse(packet).unwrap();
        assert_eq!((ip.protocol, ip.src, ip.dst), (protocol::UDP, V4.0, V4.1));
        assert!(!ip.is_fragment() && !ip.dont_fragment);
        ip.payload
    };
    assert_eq!(checksum::finish(checksum::add(pseudo(is_v6, datagram.len()), datagram)), 0);
    udp::Udp::parse(datagram).unwrap().payload
}

/// The fragments of this payload's packet, without Ethernet headers.
pub fn cut(is_v6: bool, payload: &[u8], mtu: usize, ident: u32) -> Vec<Vec<u8>> {
    let (mut frame, pending) = datagram(is_v6, payload);
    let mut out = Outbox::default();
    let count = fragmenting::write(&mut out, &mut frame, Some(pending), mtu, ident).unwrap();
    let packets: Vec<_> = out
        .frames()
        .map(|cut| {
            assert_eq!(cut.bytes[..ethernet::HEADER_LEN], frame[..ethernet::HEADER_LEN]);
            assert_eq!(cut.offload, wirebay_wire::Offload::default());
            cut.bytes[ethernet::HEADER_LEN..].to_vec()
        })
        .collect();
    assert_eq!(packets.len(), count);
    packets
}

/// Where fragments are put together, and what was lost there.
#[derive(Default)]
pub struct Bench {
    pub table: Reassembly,
    pub drops: Drops,
    pub now: Time,
}

impl Bench {
    pub fn of(table: Reassembly) -> Self {
        Bench { table, ..Bench::default() }
    }

    pub fn give(&mut self, packet: &[u8]) -> Result<Option<Vec<u8>>, DropReason> {
        self.give_from(GUEST, packet)
    }

    /// What becomes of a fragment from this station.
    pub fn give_from(&mut self, mac: Mac, packet: &[u8]) -> Result<Option<Vec<u8>>, DropReason> {
        let fragment = Fragment::parse(packet)?.expect("a fragment");
        let result = self.table.input(self.now, mac, &fragment, &mut self.drops);
        if let Err(reason) = result {
            self.drops.count(reason);
        }
        result
    }

    /// A fragment that waits for others.
    pub fn waits(&mut self, mac: Mac, packet: &[u8]) {
        assert_eq!(self.give_from(mac, packet), Ok(None));
    }
}
