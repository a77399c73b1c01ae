//! Building the frames we send to guests, in place in the [`Outbox`].

use super::config::{LINK_LOCAL_HOST, is_link_local};
use super::{Config, fragmenting};
use crate::host::HOPS;
use crate::outbox::{Outbox, Train};
use crate::report::{Message, Report};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use wirebay_wire::arp::{self, Arp};
use wirebay_wire::checksum;
use wirebay_wire::ethernet::{self, Mac, ethertype};
use wirebay_wire::frame::{Gso, GsoKind, Offload, PartialChecksum};
use wirebay_wire::ip::{self, IpRepr};
use wirebay_wire::ipv4::{self, protocol};
use wirebay_wire::tcp::{self, TcpRepr};
use wirebay_wire::udp::{self, UdpRepr};
use wirebay_wire::{DropReason, icmpv4, icmpv6, ndp};

/// The two ends of a packet to a guest, both of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// Our end: the address the guest believes to be talking to.
    pub our: SocketAddr,
    /// The guest's end.
    pub guest: SocketAddr,
    /// Where the guest's address lives.
    pub mac: Mac,
}

impl Ends {
    /// Length of the Ethernet and IP headers before the transport header.
    pub fn l3_len(&self) -> usize {
        l3_len(self.guest.ip())
    }
}

/// Length of the Ethernet and IP headers of a packet to `guest`.
fn l3_len(guest: IpAddr) -> usize {
    ethernet::HEADER_LEN + ip::header_len(guest)
}

/// Writes both headers of a packet with `len` bytes behind them.
fn l3(buf: &mut [u8], config: &Config, (src, dst): (IpAddr, IpAddr), mac: Mac, protocol: u8, len: usize) {
    let from = if config.answers_for(src) { Config::mac_of(src) } else { config.gateway_mac(dst) };
    let kind = if dst.is_ipv4() { ethertype::IPV4 } else { ethertype::IPV6 };
    ethernet::emit(buf, mac, from, kind);
    IpRepr { src, dst, protocol, hops: HOPS, payload_len: len }.emit(&mut buf[ethernet::HEADER_LEN..]);
}

fn ends_l3(buf: &mut [u8], config: &Config, ends: &Ends, protocol: u8, len: usize) {
    l3(buf, config, (ends.our.ip(), ends.guest.ip()), ends.mac, protocol, len);
}

/// Leave the checksum of the transport header to whoever needs it: store the pseudo header's sum and say where.
fn defer_checksum(transport: &mut [u8], ends: &Ends, proto: u8, offset: usize) -> PartialChecksum {
    let pseudo = ip::pseudo(ends.our.ip(), ends.guest.ip(), proto, transport.len());
    transport[offset..offset + 2].copy_from_slice(&checksum::fold(pseudo).to_be_bytes());
    PartialChecksum { start: ends.l3_len() as u16, offset: offset as u16 }
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
    let l3_len = ends.l3_len();
    let head = l3_len + repr.header_len();
    let buf = out.reserve(head + room);
    let len = fill(&mut buf[head..])?;
    if len == 0 && room > 0 {
        return Ok(0);
    }
    let mut repr = *repr;
    if len > 0 && len < room {
        repr.flags |= tcp::flags::PSH;
    }
    ends_l3(buf, config, ends, protocol::TCP, head - l3_len + len);
    repr.emit(&mut buf[l3_len..]);
    let partial = defer_checksum(&mut buf[l3_len..head + len], ends, protocol::TCP, tcp::CHECKSUM_OFFSET);
    let kind = if ends.guest.is_ipv4() { GsoKind::TcpV4 } else { GsoKind::TcpV6 };
    let gso = (len > usize::from(mss)).then_some(Gso { kind, size: mss, header_len: head as u16 });
    out.commit(head + len, Offload { checksum: Some(partial), gso, ..Offload::default() });
    Ok(len)
}

/// Most datagrams in one super-segment: the least of what kernels take (`UDP_MAX_SEGMENTS`).
const MOST_CARS: usize = 64;
/// The longest IPv4 packet.
const LONGEST: usize = u16::MAX as usize;

/// Send a UDP datagram, in fragments if it does not fit the MTU. Datagrams of one size between the same ends that follow
/// each other go as one super-segment; a port that cannot take it gets them one by one.
pub fn udp(out: &mut Outbox, config: &Config, ends: &Ends, payload: &[u8]) -> Result<(), DropReason> {
    let (head, len) = (ends.l3_len() + udp::HEADER_LEN, payload.len());
    if head + len > ethernet::HEADER_LEN + usize::from(config.mtu) {
        let mut frame = room_for(ends, udp::HEADER_LEN + len)?;
        frame[head..].copy_from_slice(payload);
        let partial = udp_headers(&mut frame, config, ends);
        return fragments(out, config, &mut frame, Some(partial));
    }
    if join_train(out, config, ends, payload) {
        return Ok(());
    }
    let buf = out.reserve(head + len);
    buf[head..].copy_from_slice(payload);
    let partial = udp_headers(buf, config, ends);
    out.commit(head + len, Offload { checksum: Some(partial), ..Offload::default() });
    if len > 0 {
        out.start_train(Train { header: head, size: len, cars: 1 });
    }
    Ok(())
}

/// A frame for a packet that is too big for the guest, with `len` bytes behind the IP header.
fn room_for(ends: &Ends, len: usize) -> Result<Vec<u8>, DropReason> {
    let longest = if ends.guest.is_ipv4() { LONGEST - ipv4::HEADER_LEN } else { LONGEST };
    if len > longest { Err(DropReason::TooBigForGuest) } else { Ok(vec![0; ends.l3_len() + len]) }
}

fn fragments(
    out: &mut Outbox,
    config: &Config,
    frame: &mut [u8],
    pending: Option<PartialChecksum>,
) -> Result<(), DropReason> {
    let ident = out.next_ident();
    fragmenting::write(out, frame, pending, config.mtu.into(), ident).map(drop)
}

fn udp_headers(frame: &mut [u8], config: &Config, ends: &Ends) -> PartialChecksum {
    let l3_len = ends.l3_len();
    let len = frame.len() - l3_len;
    ends_l3(frame, config, ends, protocol::UDP, len);
    let (src_port, dst_port) = (ends.our.port(), ends.guest.port());
    UdpRepr { src_port, dst_port, payload_len: len - udp::HEADER_LEN }.emit(&mut frame[l3_len..]);
    defer_checksum(&mut frame[l3_len..], ends, protocol::UDP, udp::CHECKSUM_OFFSET)
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
    let partial = PartialChecksum { start: ends.l3_len() as u16, offset: udp::CHECKSUM_OFFSET as u16 };
    let gso = Gso { kind: GsoKind::Udp, size: train.size as u16, header_len: train.header as u16 };
    let offload = Offload { checksum: Some(partial), gso: Some(gso), ..Offload::default() };
    if let Some(frame) = out.couple(payload, payload.len() == train.size, offload) {
        udp_headers(frame, config, ends);
    }
    true
}

/// Is this UDP frame of ours one between these ends?
fn is_between(frame: &[u8], ends: &Ends) -> bool {
    let at = ends.l3_len();
    let addresses = match (ends.our.ip(), ends.guest.ip()) {
        (IpAddr::V4(our), IpAddr::V4(guest)) => {
            is_at(frame, 12, &[0x08, 0])
                && is_at(frame, at - 8, &our.octets())
                && is_at(frame, at - 4, &guest.octets())
        }
        (IpAddr::V6(our), IpAddr::V6(guest)) => {
            is_at(frame, 12, &[0x86, 0xdd])
                && is_at(frame, at - 32, &our.octets())
                && is_at(frame, at - 16, &guest.octets())
        }
        _ => false,
    };
    addresses
        && is_at(frame, 0, &ends.mac.0)
        && is_at(frame, at, &ends.our.port().to_be_bytes())
        && is_at(frame, at + 2, &ends.guest.port().to_be_bytes())
}

fn is_at(frame: &[u8], at: usize, bytes: &[u8]) -> bool {
    frame.get(at..at + bytes.len()) == Some(bytes)
}

/// An echo request or reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Echo<'a> {
    /// A reply, or a request.
    pub reply: bool,
    /// Identifier and sequence number.
    pub ident: u16,
    /// See `ident`.
    pub seq: u16,
    /// The data.
    pub payload: &'a [u8],
}

/// Send an echo message, in fragments if it does not fit the MTU; ports in `ends` mean nothing here.
pub fn echo(out: &mut Outbox, config: &Config, ends: &Ends, echo: &Echo<'_>) -> Result<(), DropReason> {
    let (l3_len, len) = (ends.l3_len(), icmpv4::HEADER_LEN + echo.payload.len());
    if l3_len + len > ethernet::HEADER_LEN + usize::from(config.mtu) {
        let mut frame = room_for(ends, len)?;
        write_echo(&mut frame, config, ends, echo);
        return fragments(out, config, &mut frame, None);
    }
    write_echo(out.reserve(l3_len + len), config, ends, echo);
    out.commit(l3_len + len, Offload::default());
    Ok(())
}

fn write_echo(buf: &mut [u8], config: &Config, ends: &Ends, echo: &Echo<'_>) {
    let l3_len = ends.l3_len();
    let len = buf.len() - l3_len;
    buf[l3_len + icmpv4::HEADER_LEN..].copy_from_slice(echo.payload);
    let protocol = if ends.guest.is_ipv4() { protocol::ICMP } else { icmpv6::PROTOCOL };
    ends_l3(buf, config, ends, protocol, len);
    echo_header(&mut buf[l3_len..], (ends.our.ip(), ends.guest.ip()), echo);
}

/// Writes the header of an echo message between two addresses, whose data is in place.
pub fn echo_header(message: &mut [u8], (src, dst): (IpAddr, IpAddr), echo: &Echo<'_>) {
    if let (IpAddr::V6(src), IpAddr::V6(dst)) = (src, dst) {
        let kind = if echo.reply { icmpv6::kind::ECHO_REPLY } else { icmpv6::kind::ECHO_REQUEST };
        let [a, b] = echo.ident.to_be_bytes();
        let [c, d] = echo.seq.to_be_bytes();
        icmpv6::emit(message, src, dst, kind, 0, [a, b, c, d]);
    } else {
        let kind = if echo.reply { icmpv4::kind::ECHO_REPLY } else { icmpv4::kind::ECHO_REQUEST };
        icmpv4::emit_echo(message, kind, echo.ident, echo.seq, message.len() - icmpv4::HEADER_LEN);
    }
}

/// Tell a guest why its packet did not arrive: `from` says so, or without it we do. `original` starts at the IP header of
/// the packet.
pub fn report(
    out: &mut Outbox,
    config: &Config,
    from: Option<IpAddr>,
    (guest, mac): (IpAddr, Mac),
    report: Report,
    original: &[u8],
) {
    let Some(plan) = config.plan(guest) else { return };
    let our = if is_link_local(guest) { LINK_LOCAL_HOST.into() } else { plan.host };
    let src = from.unwrap_or(our);
    let l3_len = l3_len(guest);
    let buf = out.reserve(ethernet::HEADER_LEN + usize::from(config.mtu));
    let (protocol, len) = if let (IpAddr::V6(src), IpAddr::V6(guest)) = (src, guest) {
        let Message { kind, code, rest } = report.to_v6();
        let len = icmpv6::emit_error(&mut buf[l3_len..], (src, guest), (kind, code), rest, original);
        (icmpv6::PROTOCOL, len)
    } else {
        let Message { kind, code, rest } = report.to_v4();
        (protocol::ICMP, icmpv4::emit_error(&mut buf[l3_len..], kind, code, rest, original))
    };
    l3(buf, config, (src, guest), mac, protocol, len);
    out.commit(l3_len + len, Offload::default());
}

/// Send an ARP message from one of our addresses: a reply, or with `target_mac` broadcast a question.
pub fn arp(out: &mut Outbox, operation: u16, our: Ipv4Addr, target: Ipv4Addr, target_mac: Mac) {
    let ours = Config::mac_of(our.into());
    let buf = out.reserve(ethernet::HEADER_LEN + arp::LEN);
    ethernet::emit(buf, target_mac, ours, ethertype::ARP);
    let asked = if operation == arp::REQUEST { Mac([0; 6]) } else { target_mac };
    let message = Arp { operation, sender_mac: ours, sender_ip: our, target_mac: asked, target_ip: target };
    message.emit(&mut buf[ethernet::HEADER_LEN..]);
    out.commit(ethernet::HEADER_LEN + arp::LEN, Offload::default());
}

/// Ask everybody where `guest` lives.
pub fn who_has(out: &mut Outbox, config: &Config, guest: IpAddr) {
    let Some(plan) = config.plan(guest) else { return };
    match (plan.host, guest) {
        (IpAddr::V4(host), IpAddr::V4(guest)) => arp(out, arp::REQUEST, host, guest, Mac::BROADCAST),
        (IpAddr::V6(_), IpAddr::V6(guest)) => {
            let group = ndp::solicited_node(guest);
            let mac = config.gateway_mac(IpAddr::V6(guest));
            icmpv6_message(
                out,
                (LINK_LOCAL_HOST, group),
                ndp::multicast_mac(group),
                ndp::NEIGHBOR_LEN,
                mac,
                |message| {
                    ndp::emit_solicitation(message, (LINK_LOCAL_HOST, group), guest, mac);
                },
            );
        }
        _ => {}
    }
}

/// Send a neighbour discovery message of `len` bytes, which `fill` writes.
pub fn icmpv6_message(
    out: &mut Outbox,
    (src, dst): (Ipv6Addr, Ipv6Addr),
    to: Mac,
    len: usize,
    from: Mac,
    fill: impl FnOnce(&mut [u8]),
) {
    let head = l3_len(dst.into());
    let buf = out.reserve(head + len);
    ethernet::emit(buf, to, from, ethertype::IPV6);
    let repr = IpRepr {
        src: src.into(),
        dst: dst.into(),
        protocol: icmpv6::PROTOCOL,
        hops: ndp::HOP_LIMIT,
        payload_len: len,
    };
    repr.emit(&mut buf[ethernet::HEADER_LEN..]);
    fill(&mut buf[head..]);
    out.commit(head + len, Offload::default());
}
