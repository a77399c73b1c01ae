//! Frames of a guest, made by hand, and the network's frames, taken apart.

use super::checksum::{ones_sum, transport_sum, transport_sum_v6};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use wirebay_engine::Time;
use wirebay_wire::arp::{self, Arp};
use wirebay_wire::ethernet::{self, Ethernet, Mac, ethertype};
use wirebay_wire::icmpv4::{self, Icmp};
use wirebay_wire::icmpv6::{self, Icmpv6};
use wirebay_wire::ip::{Ip, IpRepr};
use wirebay_wire::ipv4::{self, Ipv4, Ipv4Repr, protocol};
use wirebay_wire::ipv6::{self, Ipv6};
use wirebay_wire::ndp;
use wirebay_wire::tcp::{self, SackBlocks, Tcp, TcpRepr, Timestamps};
use wirebay_wire::udp::{self, Udp, UdpRepr};

pub const GUEST_MAC: Mac = Mac([0x52, 0x54, 0, 0x12, 0x34, 0x56]);
pub const GATEWAY_MAC: Mac = Mac([0x52, 0x55, 10, 0, 2, 2]);
pub const DNS_MAC: Mac = Mac([0x52, 0x55, 10, 0, 2, 3]);
pub const GATEWAY6_MAC: Mac = Mac([0x52, 0x56, 0, 0, 0, 2]);
pub const GUEST6: Ipv6Addr = Ipv6Addr::new(0xfec0, 0, 0, 0, 0x5054, 0xff, 0xfe12, 0x3456);
pub const HOST6: Ipv6Addr = Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 2);
pub const GUEST: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 15);
pub const HOST: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);
pub const DNS: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 3);

/// Where Ethernet and IPv4 headers end.
pub const TRANSPORT: usize = ethernet::HEADER_LEN + ipv4::HEADER_LEN;

pub fn v4(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// The options of a segment beside segment size and window scale.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Options {
    pub sack_permitted: bool,
    pub sack: SackBlocks,
    pub timestamps: Option<Timestamps>,
}

/// A TCP segment of either side.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Seg {
    pub at: Time,
    pub src: SocketAddr,
    pub dst: SocketAddr,
    pub seq: u32,
    pub ack: u32,
    pub flags: u8,
    pub window: u16,
    pub mss: Option<u16>,
    pub scale: Option<u8>,
    pub options: Options,
    pub payload: Vec<u8>,
}

impl Seg {
    /// Whether these are its flags, PSH aside.
    pub fn is(&self, flags: u8) -> bool {
        self.flags & !tcp::flags::PSH == flags
    }

    pub fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// The sequence number after it.
    pub fn end(&self) -> u32 {
        let bits = u32::from(self.has(tcp::flags::SYN)) + u32::from(self.has(tcp::flags::FIN));
        self.seq.wrapping_add(self.payload.len() as u32 + bits)
    }

    /// The frame with which a guest sends it.
    pub fn frame(&self) -> Vec<u8> {
        let repr = TcpRepr {
            src_port: self.src.port(),
            dst_port: self.dst.port(),
            seq: self.seq,
            ack: self.ack,
            flags: self.flags,
            window: self.window,
            mss: self.mss,
            window_scale: self.scale,
            sack_permitted: self.options.sack_permitted,
            sack: self.options.sack,
            timestamps: self.options.timestamps,
        };
        let mut segment = vec![0; repr.header_len()];
        repr.emit(&mut segment);
        segment.extend(&self.payload);
        ip_frame(self.src.ip(), self.dst.ip(), protocol::TCP, &segment)
    }
}

/// A frame of the network towards a guest.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Packet {
    Arp {
        to: Mac,
        message: Arp,
    },
    Tcp {
        to: Mac,
        seg: Seg,
    },
    Udp {
        to: Mac,
        src: SocketAddr,
        dst: SocketAddr,
        payload: Vec<u8>,
    },
    /// Of either family.
    Icmp {
        to: Mac,
        src: IpAddr,
        dst: IpAddr,
        kind: u8,
        code: u8,
        ident: u16,
        seq: u16,
        payload: Vec<u8>,
    },
}

impl Packet {
    pub fn seg(self) -> Option<Seg> {
        if let Packet::Tcp { seg, .. } = self { Some(seg) } else { None }
    }

    /// Takes a finished frame apart.
    pub fn parse(at: Time, frame: &[u8]) -> Packet {
        let ethernet = Ethernet::parse(frame).unwrap();
        let to = ethernet.dst;
        if ethernet.ethertype == ethertype::ARP {
            return Packet::Arp { to, message: Arp::parse(ethernet.payload).unwrap() };
        }
        let ip: Ip<'_> = match ethernet.ethertype {
            ethertype::IPV4 => (Ipv4::parse(ethernet.payload).unwrap(), ethernet.payload).into(),
            ethertype::IPV6 => (Ipv6::parse(ethernet.payload).unwrap(), ethernet.payload).into(),
            other => panic!("Ethernet type {other:#x}"),
        };
        match ip.protocol {
            protocol::TCP => Packet::Tcp { to, seg: parse_tcp(at, &ip) },
            protocol::UDP => {
                let udp = Udp::parse(ip.payload).unwrap();
                let (src, dst) =
                    (SocketAddr::new(ip.src, udp.src_port), SocketAddr::new(ip.dst, udp.dst_port));
                Packet::Udp { to, src, dst, payload: udp.payload.to_vec() }
            }
            _ => parse_icmp(to, &ip),
        }
    }
}

fn parse_tcp(at: Time, ip: &Ip<'_>) -> Seg {
    let tcp = Tcp::parse(ip.payload).unwrap();
    Seg {
        at,
        src: SocketAddr::new(ip.src, tcp.src_port),
        dst: SocketAddr::new(ip.dst, tcp.dst_port),
        seq: tcp.seq,
        ack: tcp.ack,
        flags: tcp.flags,
        window: tcp.window,
        mss: tcp.mss,
        scale: tcp.window_scale,
        options: Options {
            sack_permitted: tcp.sack_permitted(),
            sack: tcp.sack(),
            timestamps: tcp.timestamps(),
        },
        payload: tcp.payload.to_vec(),
    }
}

fn parse_icmp(to: Mac, ip: &Ip<'_>) -> Packet {
    if let (IpAddr::V6(src), IpAddr::V6(dst)) = (ip.src, ip.dst) {
        assert_eq!(ip.protocol, icmpv6::PROTOCOL);
        let Icmpv6 { kind, code, ident, seq, payload, .. } = Icmpv6::parse(src, dst, ip.payload).unwrap();
        return Packet::Icmp {
            to,
            src: ip.src,
            dst: ip.dst,
            kind,
            code,
            ident,
            seq,
            payload: payload.to_vec(),
        };
    }
    assert_eq!(ip.protocol, protocol::ICMP);
    let icmp = Icmp::parse(ip.payload).unwrap();
    Packet::Icmp {
        to,
        src: ip.src,
        dst: ip.dst,
        kind: icmp.kind,
        code: icmp.code,
        ident: icmp.ident,
        seq: icmp.seq,
        payload: icmp.payload.to_vec(),
    }
}

/// A frame to the gateway of either family.
pub fn ip_frame(src: IpAddr, dst: IpAddr, proto: u8, transport: &[u8]) -> Vec<u8> {
    match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => ipv4_frame(src, dst, proto, transport),
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            let to = if dst.is_multicast() { ndp::multicast_mac(dst) } else { GATEWAY6_MAC };
            ipv6_frame((src, GUEST_MAC), (dst, to), 64, proto, transport)
        }
        _ => panic!("a packet between two families"),
    }
}

/// An IPv6 frame, with the transport header's checksum filled in.
pub fn ipv6_frame(
    (src, src_mac): (Ipv6Addr, Mac),
    (dst, dst_mac): (Ipv6Addr, Mac),
    hops: u8,
    proto: u8,
    transport: &[u8],
) -> Vec<u8> {
    let mut frame = vec![0; ethernet::HEADER_LEN + ipv6::HEADER_LEN];
    ethernet::emit(&mut frame, dst_mac, src_mac, ethertype::IPV6);
    let (from, to) = (src.into(), dst.into());
    let repr = IpRepr { src: from, dst: to, protocol: proto, hops, payload_len: transport.len() };
    repr.emit(&mut frame[ethernet::HEADER_LEN..]);
    frame.extend(transport);
    let segment = &mut frame[ethernet::HEADER_LEN + ipv6::HEADER_LEN..];
    let at = match proto {
        protocol::TCP => tcp::CHECKSUM_OFFSET,
        protocol::UDP => udp::CHECKSUM_OFFSET,
        icmpv6::PROTOCOL => 2,
        _ => return frame,
    };
    segment[at..at + 2].fill(0);
    let sum = !transport_sum_v6(src, dst, proto, segment);
    let sum = if sum == 0 { 0xffff } else { sum };
    segment[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    frame
}

/// An IPv4 frame to the gateway, with the transport header's checksum filled in.
pub fn ipv4_frame(src: Ipv4Addr, dst: Ipv4Addr, proto: u8, transport: &[u8]) -> Vec<u8> {
    let mut frame = vec![0; TRANSPORT];
    ethernet::emit(&mut frame, GATEWAY_MAC, GUEST_MAC, ethertype::IPV4);
    let payload_len = transport.len();
    let ip = Ipv4Repr { src, dst, protocol: proto, ttl: 64, ident: 7, dont_fragment: true, payload_len };
    ip.emit(&mut frame[ethernet::HEADER_LEN..]);
    frame.extend(transport);
    finish(&mut frame);
    frame
}

/// Make the checksums of an IPv4 frame right, after bytes of it were changed. Whatever is no such frame stays.
pub fn finish(frame: &mut [u8]) {
    let Some(packet) = frame.get_mut(ethernet::HEADER_LEN..) else { return };
    let header = packet.first().map_or(0, |first| usize::from(first & 15) * 4);
    if header < ipv4::HEADER_LEN || header > packet.len() {
        return;
    }
    packet[10..12].fill(0);
    let sum = !ones_sum(&packet[..header]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    let total = usize::from(u16::from_be_bytes([packet[2], packet[3]])).clamp(header, packet.len());
    let address = |at: usize| Ipv4Addr::new(packet[at], packet[at + 1], packet[at + 2], packet[at + 3]);
    let (src, dst, proto) = (address(12), address(16), packet[9]);
    finish_transport(src, dst, proto, &mut packet[header..total]);
}

fn finish_transport(src: Ipv4Addr, dst: Ipv4Addr, proto: u8, segment: &mut [u8]) {
    let at = match proto {
        protocol::TCP => tcp::CHECKSUM_OFFSET,
        protocol::UDP => udp::CHECKSUM_OFFSET,
        protocol::ICMP => 2,
        _ => return,
    };
    if segment.len() < at + 2 {
        return;
    }
    segment[at..at + 2].fill(0);
    let sum =
        if proto == protocol::ICMP { ones_sum(&*segment) } else { transport_sum(src, dst, proto, segment) };
    let sum = if proto == protocol::UDP && sum == 0xffff { 0xffff } else { !sum };
    segment[at..at + 2].copy_from_slice(&sum.to_be_bytes());
}

pub fn udp_frame(src: SocketAddr, dst: SocketAddr, payload: &[u8]) -> Vec<u8> {
    let repr = UdpRepr { src_port: src.port(), dst_port: dst.port(), payload_len: payload.len() };
    let mut datagram = vec![0; udp::HEADER_LEN];
    repr.emit(&mut datagram);
    datagram.extend(payload);
    ip_frame(src.ip(), dst.ip(), protocol::UDP, &datagram)
}

/// An ICMP message as a guest or a ping socket has it.
pub fn echo(kind: u8, ident: u16, seq: u16, payload: &[u8]) -> Vec<u8> {
    let mut message = vec![0; icmpv4::HEADER_LEN];
    message.extend(payload);
    icmpv4::emit_echo(&mut message, kind, ident, seq, payload.len());
    message
}

pub fn ping_frame(dst: Ipv4Addr, ident: u16, seq: u16, payload: &[u8]) -> Vec<u8> {
    ipv4_frame(GUEST, dst, protocol::ICMP, &echo(icmpv4::kind::ECHO_REQUEST, ident, seq, payload))
}

pub fn arp_frame(operation: u16, sender: (Mac, Ipv4Addr), target: Ipv4Addr) -> Vec<u8> {
    let mut frame = vec![0; ethernet::HEADER_LEN + arp::LEN];
    ethernet::emit(&mut frame, Mac::BROADCAST, sender.0, ethertype::ARP);
    let message = Arp {
        operation,
        sender_mac: sender.0,
        sender_ip: sender.1,
        target_mac: Mac([0; 6]),
        target_ip: target,
    };
    message.emit(&mut frame[ethernet::HEADER_LEN..]);
    frame
}

/// The same frame from another station.
pub fn from_mac(mut frame: Vec<u8>, mac: Mac) -> Vec<u8> {
    frame[6..12].copy_from_slice(&mac.0);
    frame
}

/// The same frame to another station.
pub fn to_mac(mut frame: Vec<u8>, mac: Mac) -> Vec<u8> {
    frame[..6].copy_from_slice(&mac.0);
    frame
}
