//! Building the frames we send to guests, in place in the [`Outbox`].

use crate::outbox::{Outbox, Train};
use std::net::{Ipv4Addr, SocketAddrV4};
use wirebay_wire::arp::{self, Arp};
use wirebay_wire::checksum;
use wirebay_wire::ethernet::{self, Mac, ethertype};
use wirebay_wire::frame::{Gso, GsoKind, Offload, PartialChecksum};
use wirebay_wire::icmpv4;
use wirebay_wire::ipv4::{self, Ipv4Repr, protocol};
use wirebay_wire::tcp::{self, TcpRepr};
use wirebay_wire::udp::{self, UdpRepr};

use super::Config;

/// Ethernet and IPv4 headers before every transport header of ours.
pub const L3_LEN: usize = ethernet::HEADER_LEN + ipv4::HEADER_LEN;

const TTL: u8 = 64;

/// The two ends of a packet to a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// Our end: the address the guest believes to be talking to.
    pub our: SocketAddrV4,
    /// The guest's end.
    pub guest: SocketAddrV4,
    /// Where the guest's address lives.
    pub mac: Mac,
}

fn l3(buf: &mut [u8], config: &Config, our: Ipv4Addr, guest: Ipv4Addr, mac: Mac, proto: u8, len: usize) {
    let src = if config.is_ours(our) { Config::mac_of(our) } else { config.gateway_mac() };
    ethernet::emit(buf, mac, src, ethertype::IPV4);
    let header = Ipv4Repr {
        src: our,
        dst: guest,
        protocol: proto,
        ttl: TTL,
        ident: 0,
        dont_fragment: true,
        payload_len: len,
    };
    header.emit(&mut buf[ethernet::HEADER_LEN..]);
}

/// Leave the checksum of the transport header to whoever needs it: store the pseudo header's sum and say where.
fn defer_checksum(transport: &mut [u8], ends: &Ends, proto: u8, offset: usize) -> PartialChecksum {
    let pseudo = checksum::pseudo_v4(*ends.our.ip(), *ends.guest.ip(), proto, transport.len());
    transport[offset..offset + 2].copy_from_slice(&checksum::fold(pseudo).to_be_bytes());
    PartialChecksum { start: L3_LEN as u16, offset: offset as u16 }
}

/// Send a TCP segment without payload.
pub fn tcp_bare(out: &mut Outbox, config: &Config, ends: &Ends, repr: &TcpRepr) {
    let filled: Result<usize, ()> = tcp_with(out, config, ends, repr, 0, u16::MAX, |_| Ok(0));
    debug_assert!(filled.is_ok());
}

/// Send a TCP segment whose payload `fill` writes, at most `room` bytes of it; more than `mss` becomes a
/// super-segment. Nothing is sent when `fill` fails, or writes nothing into a room that was not empty.
pub fn tcp_with<E>(
    out: &mut Outbox,
    config: &Config,
    ends: &Ends,
    repr: &TcpRepr,
    room: usize,
    mss: u16,
    fill: impl FnOnce(&mut [u8]) -> Result<usize, E>,
) -> Result<usize, E> {
    let head = L3_LEN + repr.header_len();
    let buf = out.reserve(head + room);
    let len = fill(&mut buf[head..])?;
    if len == 0 && room > 0 {
        return Ok(0);
    }
    let mut repr = *repr;
    if len > 0 && len < room {
        repr.flags |= tcp::flags::PSH;
    }
    l3(buf, config, *ends.our.ip(), *ends.guest.ip(), ends.mac, protocol::TCP, head - L3_LEN + len);
    repr.emit(&mut buf[L3_LEN..]);
    let partial = defer_checksum(&mut buf[L3_LEN..head + len], ends, protocol::TCP, tcp::CHECKSUM_OFFSET);
    let gso =
        (len > usize::from(mss)).then_some(Gso { kind: GsoKind::TcpV4, size: mss, header_len: head as u16 });
    out.commit(head + len, Offload { checksum: Some(partial), gso, ..Offload::default() });
    Ok(len)
}

const UDP_HEAD: usize = L3_LEN + udp::HEADER_LEN;
/// Most datagrams in one super-segment: the least of what kernels take (`UDP_MAX_SEGMENTS`).
const MOST_CARS: usize = 64;
/// The longest IPv4 packet.
const LONGEST: usize = u16::MAX as usize;

/// Send a UDP datagram; the caller has checked that it fits the MTU. Datagrams of one size between the same ends that
/// follow each other go as one super-segment; a port that cannot take it gets them one by one.
pub fn udp(out: &mut Outbox, config: &Config, ends: &Ends, payload: &[u8]) {
    if join_train(out, config, ends, payload) {
        return;
    }
    let len = payload.len();
    let buf = out.reserve(UDP_HEAD + len);
    buf[UDP_HEAD..].copy_from_slice(payload);
    udp_headers(buf, config, ends);
    out.commit(UDP_HEAD + len, Offload { checksum: Some(UDP_CHECKSUM), ..Offload::default() });
    if len > 0 {
        out.start_train(Train { header: UDP_HEAD, size: len, cars: 1 });
    }
}

const UDP_CHECKSUM: PartialChecksum =
    PartialChecksum { start: L3_LEN as u16, offset: udp::CHECKSUM_OFFSET as u16 };

fn udp_headers(frame: &mut [u8], config: &Config, ends: &Ends) {
    let len = frame.len() - UDP_HEAD;
    l3(frame, config, *ends.our.ip(), *ends.guest.ip(), ends.mac, protocol::UDP, udp::HEADER_LEN + len);
    let repr = UdpRepr { src_port: ends.our.port(), dst_port: ends.guest.port(), payload_len: len };
    repr.emit(&mut frame[L3_LEN..]);
    defer_checksum(&mut frame[L3_LEN..], ends, protocol::UDP, udp::CHECKSUM_OFFSET);
}

/// Couple the datagram to the one before, if that has the same ends and size and there is room.
fn join_train(out: &mut Outbox, config: &Config, ends: &Ends, payload: &[u8]) -> bool {
    let Some((train, frame)) = out.train() else { return false };
    let fits = !payload.is_empty()
        && payload.len() <= train.size
        && train.cars < MOST_CARS
        && frame.len() + payload.len() <= LONGEST
        && is_between(frame, ends);
    if !fits {
        return false;
    }
    let gso = Gso { kind: GsoKind::Udp, size: train.size as u16, header_len: train.header as u16 };
    let offload = Offload { checksum: Some(UDP_CHECKSUM), gso: Some(gso), ..Offload::default() };
    if let Some(frame) = out.couple(payload, payload.len() == train.size, offload) {
        udp_headers(frame, config, ends);
    }
    true
}

/// Is this UDP frame of ours one between these ends?
fn is_between(frame: &[u8], ends: &Ends) -> bool {
    frame[..6] == ends.mac.0
        && frame[26..30] == ends.our.ip().octets()
        && frame[30..34] == ends.guest.ip().octets()
        && frame[L3_LEN..L3_LEN + 2] == ends.our.port().to_be_bytes()
        && frame[L3_LEN + 2..L3_LEN + 4] == ends.guest.port().to_be_bytes()
}

/// Send an ICMP echo message; ports in `ends` mean nothing here.
pub fn icmp_echo(
    out: &mut Outbox,
    config: &Config,
    ends: &Ends,
    kind: u8,
    ident: u16,
    seq: u16,
    payload: &[u8],
) {
    let (head, len) = (L3_LEN + icmpv4::HEADER_LEN, payload.len());
    let buf = out.reserve(head + len);
    buf[head..].copy_from_slice(payload);
    l3(buf, config, *ends.our.ip(), *ends.guest.ip(), ends.mac, protocol::ICMP, icmpv4::HEADER_LEN + len);
    icmpv4::emit_echo(&mut buf[L3_LEN..], kind, ident, seq, len);
    out.commit(head + len, Offload::default());
}

/// Tell the guest why its packet went nowhere. `original` starts at the IPv4 header of the packet.
pub fn icmp_unreachable(
    out: &mut Outbox,
    config: &Config,
    guest: Ipv4Addr,
    mac: Mac,
    code: u8,
    original: &[u8],
) {
    const LARGEST: u16 = 576;
    let buf = out.reserve(ethernet::HEADER_LEN + usize::from(LARGEST.min(config.mtu)));
    let len = icmpv4::emit_error(&mut buf[L3_LEN..], icmpv4::kind::UNREACHABLE, code, 0, original);
    l3(buf, config, config.host, guest, mac, protocol::ICMP, len);
    out.commit(L3_LEN + len, Offload::default());
}

/// Send an ARP message from one of our addresses: a reply, or with `target_mac` broadcast a question.
pub fn arp(out: &mut Outbox, operation: u16, our: Ipv4Addr, target: Ipv4Addr, target_mac: Mac) {
    let ours = Config::mac_of(our);
    let buf = out.reserve(ethernet::HEADER_LEN + arp::LEN);
    ethernet::emit(buf, target_mac, ours, ethertype::ARP);
    let asked = if operation == arp::REQUEST { Mac([0; 6]) } else { target_mac };
    let message = Arp { operation, sender_mac: ours, sender_ip: our, target_mac: asked, target_ip: target };
    message.emit(&mut buf[ethernet::HEADER_LEN..]);
    out.commit(ethernet::HEADER_LEN + arp::LEN, Offload::default());
}

/// The start of a guest's SYN, rebuilt for quoting: an ICMP error must name the connection it is about, and the SYN
/// itself is long gone when the host's connect fails.
pub fn quote_syn(ends: &Ends, seq: u32) -> [u8; ipv4::HEADER_LEN + tcp::HEADER_LEN] {
    let mut packet = [0; ipv4::HEADER_LEN + tcp::HEADER_LEN];
    let ip = Ipv4Repr {
        src: *ends.guest.ip(),
        dst: *ends.our.ip(),
        protocol: protocol::TCP,
        ttl: TTL,
        ident: 0,
        dont_fragment: true,
        payload_len: tcp::HEADER_LEN,
    };
    ip.emit(&mut packet);
    let segment = TcpRepr {
        src_port: ends.guest.port(),
        dst_port: ends.our.port(),
        seq,
        ack: 0,
        flags: tcp::flags::SYN,
        ..TcpRepr::default()
    };
    segment.emit(&mut packet[ipv4::HEADER_LEN..]);
    packet
}
