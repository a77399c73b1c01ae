//! Errors on their way to guests: what we refuse, what the host's kernel refuses, and what routers and hosts behind it
//! have reported about what a flow sent.
//!
//! A report names the packet it is about as the guest knows it, so that the guest's kernel finds the socket: it quotes
//! the packet itself where that is at hand, and otherwise one that is rebuilt from the flow's addresses and what the
//! host's kernel has kept of the payload. It comes from who reported it, which is how a guest sees the routers on its
//! way (traceroute); what the guest could not answer to, such as the host's own loopback, is the network's host.

use super::datagram::{DatagramFlow, Via, seen};
use super::emit::{self, Echo, Ends};
use super::flows::Flow;
use super::outbound::Packet;
use super::tcp::{self, Verdict};
use super::{Config, UserNet};
use crate::host::{DatagramKind, HOPS, Host, Peer};
use crate::outbox::Outbox;
use crate::report::Report;
use crate::table::Token;
use crate::time::Time;
use std::io;
use std::net::SocketAddr;
use wirebay_wire::ip::{self, IpRepr};
use wirebay_wire::ipv4::protocol;
use wirebay_wire::tcp::TcpRepr;
use wirebay_wire::udp::UdpRepr;
use wirebay_wire::{DropReason, checksum, icmpv4, icmpv6, udp};

impl<H: Host> UserNet<H> {
    /// The host could not connect: tell the guest as the kernel told us, or who told the kernel.
    pub(super) fn connect_failed(&mut self, token: Token, error: &io::Error, out: &mut Outbox) {
        let Some(Flow::Tcp(flow)) = self.flows.get(token) else { return };
        let (ends, ack) = (flow.ends, flow.syn_ack_number());
        let reported = self.host.tcp_report(&mut flow.socket);
        let reason = reason_of(error);
        self.drops.count(reason);
        if answers_with_reset(reason) {
            tcp::refuse(out, &self.config, &ends, ack);
        } else if let Some((report, offender)) = reported {
            let from = offender.map(|addr| seen(&self.config, &ends, addr));
            let quote = quote_syn(&ends, ack.wrapping_sub(1));
            emit::report(out, &self.config, from, (ends.guest.ip(), ends.mac), report, &quote);
        } else {
            let quote = quote_syn(&ends, ack.wrapping_sub(1));
            self.answer_error(reason, &ends, &quote, out);
        }
        self.end_tcp(token, Verdict::Close);
    }

    /// An ICMP error about `original`, where one says more than silence.
    pub(super) fn answer_error(&self, reason: DropReason, ends: &Ends, original: &[u8], out: &mut Outbox) {
        use DropReason as R;
        let report = match reason {
            R::NetworkUnreachable => Report::NoRoute,
            R::HostUnreachable => Report::Host,
            R::Restricted | R::HostLoopbackForbidden | R::PingForbidden | R::MartianDestination => {
                Report::Prohibited
            }
            R::NoResolver | R::UnknownService | R::HostRefused => Report::Port,
            R::UnknownProtocol => Report::Protocol,
            _ => return,
        };
        emit::report(out, &self.config, None, (ends.guest.ip(), ends.mac), report, original);
    }

    /// The host's kernel has refused a packet that must not be fragmented, and knows what its way takes.
    pub(super) fn too_big_for_path(&mut self, packet: &Packet<'_>, token: Token, out: &mut Outbox) {
        if let Some(mtu) = self.datagram_errors(token, out) {
            let guest = (packet.ip.src, packet.mac);
            emit::report(out, &self.config, None, guest, Report::TooBig(mtu), packet.ip.packet);
        }
    }

    /// Tell the guest what has been reported about a flow's datagrams. What the kernel itself says belongs to a packet
    /// that was just to be sent: the last MTU it named.
    pub(super) fn datagram_errors(&mut self, token: Token, out: &mut Outbox) -> Option<u32> {
        let (host, config) = (&mut self.host, &self.config);
        let Some(Flow::Datagram(flow)) = self.flows.get(token) else { return None };
        let ends = flow.ends;
        let (fixed, is_ping) = (matches!(flow.via, Via::Dns(..)), matches!(flow.via, Via::Ping(_)));
        let socket = flow.socket()?;
        let mut mtu = None;
        let more = host.datagram_errors(socket, &mut |error| match (error.offender, error.report) {
            (None, Report::TooBig(least)) => mtu = Some(least),
            (None, _) => {}
            (Some(offender), report) => {
                let ends = ends_of(config, &ends, fixed, error.to);
                let from =
                    if offender == error.to.ip() { ends.our.ip() } else { seen(config, &ends, offender) };
                let guest = (ends.guest.ip(), ends.mac);
                let quote =
                    if is_ping { quote_ping(&ends, error.payload) } else { quote_udp(&ends, error.payload) };
                emit::report(out, config, Some(from), guest, report, &quote);
            }
        });
        if matches!(more, Ok(true)) {
            flow.failed = true;
            if !std::mem::replace(&mut flow.queued, true) {
                self.to_run.push_back(token);
            }
        }
        mtu
    }

    /// Tell guests what has been reported about their answers to clients of the forward in `slot`. Whether there may be
    /// more.
    pub fn forward_errors(&mut self, slot: usize, out: &mut Outbox) -> bool {
        let Some((guest, mut socket)) = self.forwards.take_socket(slot) else { return false };
        let mut reported = Vec::new();
        let more = self.host.datagram_errors(&mut socket, &mut |error| {
            // What the kernel itself says is told by the call that sends.
            if let Some(offender) = error.offender {
                reported.push((offender, error.report, error.to, error.payload.to_vec()));
            }
        });
        self.forwards.put_socket(slot, socket);
        for (offender, report, to, payload) in reported {
            let is_it = |client: &Peer| (client.addr.ip(), client.addr.port()) == (to.ip(), to.port());
            let Some(token) = self.inbound_flow(slot, guest, to, is_it) else { continue };
            let Some(Flow::Datagram(flow)) = self.flows.get(token) else { continue };
            let ends = flow.ends;
            let from = if offender == to.ip() { ends.our.ip() } else { seen(&self.config, &ends, offender) };
            let quote = quote_udp(&ends, &payload);
            emit::report(out, &self.config, Some(from), (ends.guest.ip(), ends.mac), report, &quote);
        }
        matches!(more, Ok(true))
    }

    /// Fragments whose packets did not become whole in time.
    pub(super) fn expire_fragments(&mut self, now: Time, out: &mut Outbox) {
        for expired in self.reassembly.expire(now, &mut self.drops) {
            let guest = (expired.src, expired.mac);
            emit::report(out, &self.config, None, guest, Report::Incomplete, &expired.first);
        }
    }
}

impl<D> DatagramFlow<D> {
    /// The flow's own socket.
    fn socket(&mut self) -> Option<&mut D> {
        match &mut self.via {
            Via::Cone(socket) | Via::Dns(socket, _) | Via::Ping(socket) => Some(socket),
            Via::Inbound { .. } => None,
        }
    }
}

/// The ends of the conversation in which something was sent to `to`.
fn ends_of(config: &Config, ends: &Ends, fixed: bool, to: SocketAddr) -> Ends {
    if fixed {
        return *ends;
    }
    Ends { our: SocketAddr::new(seen(config, ends, to.ip()), to.port()), ..*ends }
}

/// The start of a packet as the guest sent it, with `len` bytes behind the header; and where those start.
fn quote(ends: &Ends, protocol: u8, len: usize) -> (Vec<u8>, usize) {
    let (src, dst) = (ends.guest.ip(), ends.our.ip());
    let mut packet = vec![0; ip::header_len(src) + len];
    let at = IpRepr { src, dst, protocol, hops: HOPS, payload_len: len }.emit(&mut packet);
    (packet, at)
}

/// A guest's SYN: the real one is long gone when the host's connect fails.
fn quote_syn(ends: &Ends, seq: u32) -> Vec<u8> {
    let (mut packet, at) = quote(ends, protocol::TCP, wirebay_wire::tcp::HEADER_LEN);
    let segment = TcpRepr {
        src_port: ends.guest.port(),
        dst_port: ends.our.port(),
        seq,
        ack: 0,
        flags: wirebay_wire::tcp::flags::SYN,
        ..TcpRepr::default()
    };
    segment.emit(&mut packet[at..]);
    packet
}

/// A guest's datagram, as far as it came back.
fn quote_udp(ends: &Ends, payload: &[u8]) -> Vec<u8> {
    let len = udp::HEADER_LEN + payload.len();
    let (mut packet, at) = quote(ends, protocol::UDP, len);
    packet[at + udp::HEADER_LEN..].copy_from_slice(payload);
    let (src_port, dst_port) = (ends.guest.port(), ends.our.port());
    UdpRepr { src_port, dst_port, payload_len: payload.len() }.emit(&mut packet[at..]);
    let pseudo = ip::pseudo(ends.guest.ip(), ends.our.ip(), protocol::UDP, len);
    let sum = checksum::finish(checksum::add(pseudo, &packet[at..]));
    packet[at + udp::CHECKSUM_OFFSET..][..2].copy_from_slice(&sum.to_be_bytes());
    packet
}

/// A guest's echo request, as far as it came back. The message is as the kernel sent it, with an identifier of the kernel's.
fn quote_ping(ends: &Ends, message: &[u8]) -> Vec<u8> {
    let len = message.len().max(icmpv4::HEADER_LEN);
    let protocol = if ends.guest.is_ipv4() { protocol::ICMP } else { icmpv6::PROTOCOL };
    let (mut packet, at) = quote(ends, protocol, len);
    packet[at..at + message.len()].copy_from_slice(message);
    let seq = u16::from_be_bytes([packet[at + 6], packet[at + 7]]);
    let echo = Echo { reply: false, ident: ends.guest.port(), seq, payload: &[] };
    emit::echo_header(&mut packet[at..], (ends.guest.ip(), ends.our.ip()), &echo);
    packet
}

/// Why a socket could not be opened.
pub fn open_reason(kind: DatagramKind, error: &io::Error) -> DropReason {
    match error.kind() {
        io::ErrorKind::PermissionDenied if matches!(kind, DatagramKind::Ping4 | DatagramKind::Ping6) => {
            DropReason::PingForbidden
        }
        _ => reason_of(error),
    }
}

/// Which refusals a TCP client should learn at once, by RST.
pub fn answers_with_reset(reason: DropReason) -> bool {
    use DropReason as R;
    matches!(
        reason,
        R::Restricted
            | R::HostLoopbackForbidden
            | R::UnknownService
            | R::NoResolver
            | R::HostRefused
            | R::FlowTableFull
            | R::DescriptorsExhausted
    )
}

/// What a host's error means for the guest.
pub fn reason_of(error: &io::Error) -> DropReason {
    use io::ErrorKind as K;
    match error.kind() {
        K::ConnectionRefused | K::ConnectionReset => DropReason::HostRefused,
        K::NetworkUnreachable => DropReason::NetworkUnreachable,
        K::HostUnreachable | K::TimedOut => DropReason::HostUnreachable,
        K::PermissionDenied => DropReason::Restricted,
        K::WouldBlock => DropReason::QueueFull,
        // Without stable kinds: EMSGSIZE; EMFILE, ENFILE, ENOBUFS, ENOMEM, EADDRNOTAVAIL (no local port left).
        _ => match error.raw_os_error() {
            Some(90) => DropReason::TooBigForPath,
            Some(24 | 23 | 105 | 12 | 99) => DropReason::DescriptorsExhausted,
            _ => DropReason::HostSendFailed,
        },
    }
}
