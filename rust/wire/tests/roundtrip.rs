//! What a representation emits, its view reads back; and nothing beyond the header is written.

use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use wirebay_wire::arp::{self, Arp};
use wirebay_wire::ethernet::{self, Ethernet};
use wirebay_wire::fragment::{self, Fragment, FragmentRepr};
use wirebay_wire::icmpv4::{self, Icmp};
use wirebay_wire::ipv4::{self, Ipv4, Ipv4Repr};
use wirebay_wire::ipv6::{self, Ipv6, Ipv6Repr};
use wirebay_wire::tcp::{SackBlocks, Tcp, TcpRepr, Timestamps, flags};
use wirebay_wire::udp::{self, Udp, UdpRepr};
use wirebay_wire::vnet;
use wirebay_wire::{DropReason, Gso, GsoKind, Mac, Offload, PartialChecksum};

/// A buffer of old bytes for a header of `len`, and `payload` behind it.
fn buffer(len: usize, payload: &[u8]) -> Vec<u8> {
    let mut buf = vec![0xa5; len];
    buf.extend(payload);
    buf
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..64)
}

prop_compose! {
    fn ipv4_repr()(src: u32, dst: u32, protocol: u8, ttl: u8, ident: u16, dont_fragment: bool) -> Ipv4Repr {
        let (src, dst) = (Ipv4Addr::from(src), Ipv4Addr::from(dst));
        Ipv4Repr { src, dst, protocol, ttl, ident, dont_fragment, payload_len: 0 }
    }
}

prop_compose! {
    fn plain()(ports: (u16, u16), seq: u32, ack: u32, window: u16,
               timestamps in option::of(any::<(u32, u32)>())) -> TcpRepr {
        let timestamps = timestamps.map(|(value, echo)| Timestamps { value, echo });
        TcpRepr { src_port: ports.0, dst_port: ports.1, seq, ack, window, timestamps, ..TcpRepr::default() }
    }
}

prop_compose! {
    fn syn()(repr in plain(), more in any::<u8>(), mss in option::of(any::<u16>()),
             window_scale in option::of(0_u8..=14), sack_permitted: bool) -> TcpRepr {
        let flags = (more | flags::SYN) & !(flags::FIN | flags::RST);
        TcpRepr { flags, mss, window_scale, sack_permitted, ..repr }
    }
}

prop_compose! {
    fn later()(repr in plain(), more in any::<u8>(), blocks in vec(any::<(u32, u32)>(), 0..=4)) -> TcpRepr {
        let flags = (more | flags::ACK) & !flags::SYN;
        let mut sack = SackBlocks::default();
        for (start, end) in blocks {
            sack.push(start, end);
        }
        sack.truncate(if repr.timestamps.is_some() { 3 } else { 4 });
        TcpRepr { flags, sack, ..repr }
    }
}

prop_compose! {
    fn fragment_repr()(ident: u32, unit in 0_usize..8000, more: bool) -> FragmentRepr {
        FragmentRepr { ident, offset: unit * 8, more }
    }
}

/// Payload that a fragment may have.
fn fragment_payload() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<[u8; 8]>(), 1..8).prop_map(|units| units.concat())
}

fn read(piece: &Fragment<'_>) -> FragmentRepr {
    FragmentRepr { ident: piece.key.ident, offset: piece.offset, more: piece.more }
}

fn offload() -> impl Strategy<Value = Offload> {
    let kind = prop_oneof![Just(GsoKind::TcpV4), Just(GsoKind::TcpV6), Just(GsoKind::Udp)];
    let gso =
        (kind, 1_u16.., any::<u16>()).prop_map(|(kind, size, header_len)| Gso { kind, size, header_len });
    let checksum =
        (0_u16..60_000, 0_u16..9_000).prop_map(|(start, offset)| PartialChecksum { start, offset });
    (option::of((checksum, option::of(gso))), any::<bool>()).prop_map(|(pending, checksum_valid)| Offload {
        checksum: pending.map(|(checksum, _)| checksum),
        gso: pending.and_then(|(_, gso)| gso),
        checksum_valid,
    })
}

proptest! {
    #[test]
    fn ethernet(dst: [u8; 6], src: [u8; 6], ethertype: u16, payload in payload()) {
        let mut buf = buffer(ethernet::HEADER_LEN, &payload);
        ethernet::emit(&mut buf, Mac(dst), Mac(src), ethertype);
        let read = Ethernet::parse(&buf).unwrap();
        prop_assert_eq!(read, Ethernet { dst: Mac(dst), src: Mac(src), ethertype, payload: &payload });
        prop_assert_eq!(read.dst.to_string().parse(), Ok(read.dst));
    }

    #[test]
    fn arp(operation: u16, macs: [[u8; 6]; 2], ips: [u32; 2], padding in payload()) {
        let written = Arp {
            operation,
            sender_mac: Mac(macs[0]),
            sender_ip: Ipv4Addr::from(ips[0]),
            target_mac: Mac(macs[1]),
            target_ip: Ipv4Addr::from(ips[1]),
        };
        let mut buf = buffer(arp::LEN, &padding);
        written.emit(&mut buf);
        prop_assert_eq!(Arp::parse(&buf), Ok(written));
        prop_assert_eq!(&buf[arp::LEN..], padding);
    }

    #[test]
    fn ipv4(repr in ipv4_repr(), payload in payload(), padding in payload()) {
        let repr = Ipv4Repr { payload_len: payload.len(), ..repr };
        let mut buf = buffer(ipv4::HEADER_LEN, &payload);
        buf.extend(padding);
        repr.emit(&mut buf);
        let ip = Ipv4::parse(&buf).unwrap();
        let Ipv4 { src, dst, protocol, ttl, ident, dont_fragment, .. } = ip;
        let read = Ipv4Repr { src, dst, protocol, ttl, ident, dont_fragment, payload_len: ip.payload.len() };
        prop_assert_eq!(read, repr);
        prop_assert_eq!(ip.payload, payload);
        prop_assert!(!ip.is_fragment() && ip.header == &buf[..ipv4::HEADER_LEN]);
    }

    #[test]
    fn ipv6(addresses: [u128; 2], hop_limit: u8, payload in payload(), padding in payload()) {
        let [src, dst] = addresses.map(Ipv6Addr::from);
        let repr = Ipv6Repr { src, dst, next_header: 17, hop_limit, payload_len: payload.len() };
        let mut buf = buffer(ipv6::HEADER_LEN, &payload);
        buf.extend(padding);
        repr.emit(&mut buf);
        let expected = Ipv6 { src, dst, next_header: 17, hop_limit, payload: &payload, transport_offset: 40 };
        prop_assert_eq!(Ipv6::parse(&buf), Ok(expected));
    }

    #[test]
    fn fragment_v4(ip in ipv4_repr(), repr in fragment_repr(), payload in fragment_payload(), padding in payload()) {
        let repr = FragmentRepr { ident: repr.ident & 0xffff, ..repr };
        let mut buf = buffer(ipv4::HEADER_LEN, &payload);
        ip.emit(&mut buf);
        repr.emit_v4(&mut buf);
        let len = buf.len();
        buf.extend(padding);
        let Some(piece) = Fragment::parse(&buf).unwrap() else {
            prop_assert!(repr.offset == 0 && !repr.more);
            return Ok(());
        };
        prop_assert_eq!((read(&piece), piece.payload), (repr, &payload[..]));
        prop_assert_eq!((piece.key.src, piece.key.dst), (ip.src.into(), ip.dst.into()));
        let mut whole = buf[..len].to_vec();
        fragment::make_whole(&mut whole, piece.next_header);
        let whole = Ipv4::parse(&whole).unwrap();
        prop_assert_eq!((whole.is_fragment(), whole.ttl, whole.payload), (false, ip.ttl, &payload[..]));
    }

    #[test]
    fn fragment_v6(addresses: [u128; 2], repr in fragment_repr(), payload in fragment_payload(), padding in payload()) {
        let [src, dst] = addresses.map(Ipv6Addr::from);
        let mut body = buffer(fragment::HEADER_LEN, &payload);
        repr.emit_v6(&mut body, 17);
        let ip = Ipv6Repr { src, dst, next_header: 44, hop_limit: 9, payload_len: body.len() };
        let mut buf = buffer(ipv6::HEADER_LEN, &body);
        buf.extend(padding);
        ip.emit(&mut buf);
        prop_assert_eq!(Ipv6::parse(&buf), Err(DropReason::Ipv6Fragment));
        let piece = Fragment::parse(&buf).unwrap().unwrap();
        prop_assert_eq!((read(&piece), piece.payload, piece.next_header), (repr, &payload[..], (6, 17)));
        prop_assert_eq!((piece.key.src, piece.key.dst), (src.into(), dst.into()));
        let mut whole = [&buf[..piece.head_len], piece.payload].concat();
        fragment::make_whole(&mut whole, piece.next_header);
        let expected = Ipv6 { src, dst, next_header: 17, hop_limit: 9, payload: &payload, transport_offset: 40 };
        prop_assert_eq!(Ipv6::parse(&whole), Ok(expected));
    }

    #[test]
    fn tcp(repr in prop_oneof![syn(), later()], payload in payload()) {
        let mut buf = buffer(repr.header_len(), &payload);
        repr.emit(&mut buf);
        let tcp = Tcp::parse(&buf).unwrap();
        let Tcp { src_port, dst_port, seq, ack, flags, window, mss, window_scale, .. } = tcp;
        let (sack_permitted, sack, timestamps) = (tcp.sack_permitted(), tcp.sack(), tcp.timestamps());
        let read = TcpRepr {
            src_port, dst_port, seq, ack, flags, window, mss, window_scale, sack_permitted, sack, timestamps,
        };
        prop_assert_eq!(read, repr);
        prop_assert_eq!((tcp.header_len % 4, tcp.header_len, tcp.urgent), (0, repr.header_len(), 0));
        prop_assert_eq!(tcp.payload, payload);
        prop_assert_eq!(&buf[16..18], [0, 0]);
    }

    #[test]
    fn udp(src_port: u16, dst_port: u16, payload in payload(), padding in payload()) {
        let mut buf = buffer(udp::HEADER_LEN, &payload);
        buf.extend(padding);
        UdpRepr { src_port, dst_port, payload_len: payload.len() }.emit(&mut buf);
        prop_assert_eq!(Udp::parse(&buf), Ok(Udp { src_port, dst_port, checksum: 0, payload: &payload }));
    }

    #[test]
    fn icmp_echo(kind: u8, ident: u16, seq: u16, payload in payload(), behind in payload()) {
        let mut buf = buffer(icmpv4::HEADER_LEN, &payload);
        let len = buf.len();
        buf.extend(&behind);
        icmpv4::emit_echo(&mut buf, kind, ident, seq, payload.len());
        let rest = (u32::from(ident) << 16 | u32::from(seq)).to_be_bytes();
        let expected = Icmp { kind, code: 0, ident, seq, rest, payload: &payload };
        prop_assert_eq!(Icmp::parse(&buf[..len]), Ok(expected));
        prop_assert_eq!(&buf[len..], behind);
    }

    #[test]
    fn icmp_error(kind: u8, code: u8, rest: u32, original in vec(any::<u8>(), 0..700), room in 8_usize..700) {
        let mut buf = vec![0xa5; room];
        let len = icmpv4::emit_error(&mut buf, kind, code, rest, &original);
        let icmp = Icmp::parse(&buf[..len]).unwrap();
        prop_assert_eq!((icmp.kind, icmp.code, icmp.rest), (kind, code, rest.to_be_bytes()));
        prop_assert_eq!(icmp.payload.len(), original.len().min(548).min(room - 8));
        prop_assert!(original.starts_with(icmp.payload));
    }

    #[test]
    fn vnet_header(offload in offload()) {
        let mut buf = [0xa5; vnet::LEN];
        vnet::emit(&offload, &mut buf);
        prop_assert_eq!(vnet::parse(&buf), Ok(offload));
        prop_assert_eq!(&buf[10..], [0, 0], "no buffers");
    }
}
