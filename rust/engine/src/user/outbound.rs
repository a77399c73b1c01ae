//! Packets from guests: who may send what where, and which flow it belongs to.

use super::datagram::{self, DatagramFlow, Via};
use super::emit::{self, Ends};
use super::flows::{ANY, Flow, Key};
use super::inbound::ServiceMessage;
use super::tcp::{self, TcpFlow, Verdict};
use super::{Config, UserNet};
use crate::host::{DatagramKind, Host};
use crate::outbox::Outbox;
use crate::table::Token;
use crate::time::Time;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use wirebay_wire::checksum;
use wirebay_wire::ethernet::{Ethernet, Mac};
use wirebay_wire::icmpv4::{self, Icmp, code};
use wirebay_wire::ipv4::{self, Ipv4, protocol};
use wirebay_wire::tcp::Tcp;
use wirebay_wire::udp::Udp;
use wirebay_wire::{DropReason, Frame};

/// Where DHCP clients send to.
const DHCP_PORT: u16 = 67;

/// A packet from a guest that has passed the checks of its source.
struct Packet<'a> {
    now: Time,
    mac: Mac,
    ip: Ipv4<'a>,
    /// The whole IPv4 packet, for quoting in ICMP errors.
    bytes: &'a [u8],
    frame: &'a Frame<'a>,
}

impl Packet<'_> {
    /// Verify the transport checksum, unless it is known to be right or not computed yet.
    fn verify(&self, bad: DropReason) -> Result<(), DropReason> {
        let offload = &self.frame.offload;
        if offload.checksum.is_some() || offload.checksum_valid {
            return Ok(());
        }
        let pseudo = checksum::pseudo_v4(self.ip.src, self.ip.dst, self.ip.protocol, self.ip.payload.len());
        if checksum::finish(checksum::add(pseudo, self.ip.payload)) == 0 { Ok(()) } else { Err(bad) }
    }
}

impl<H: Host> UserNet<H> {
    pub(super) fn ipv4_input(
        &mut self,
        now: Time,
        ethernet: &Ethernet<'_>,
        frame: &Frame<'_>,
        out: &mut Outbox,
    ) -> Result<(), DropReason> {
        let ours = |mac: Mac| mac == self.config.gateway_mac() || mac == Config::mac_of(self.config.dns);
        if !ours(ethernet.dst) && !ethernet.dst.is_multicast() {
            return Err(DropReason::NotForUs);
        }
        let ip = Ipv4::parse(ethernet.payload)?;
        if ip.is_fragment() {
            return Err(DropReason::Ipv4Fragment);
        }
        let packet = Packet { now, mac: ethernet.src, ip, bytes: ethernet.payload, frame };
        if packet.ip.protocol == protocol::UDP && self.service_input(&packet)? {
            return Ok(());
        }
        if !self.config.is_guest(packet.ip.src) {
            return Err(DropReason::SourceNotInNet);
        }
        if ethernet.dst.is_multicast() || self.config.is_broadcast(packet.ip.dst) {
            return Err(DropReason::MartianDestination);
        }
        match packet.ip.protocol {
            protocol::TCP => self.tcp_input(&packet, out),
            protocol::UDP => self.udp_input(&packet, out),
            protocol::ICMP => self.icmp_input(&packet, out),
            _ => Err(DropReason::UnknownProtocol),
        }
    }

    /// DHCP goes to the service, whatever its source address; true if this was DHCP.
    fn service_input(&mut self, packet: &Packet<'_>) -> Result<bool, DropReason> {
        let for_us = self.config.is_broadcast(packet.ip.dst) || packet.ip.dst == self.config.host;
        let udp = Udp::parse(packet.ip.payload)?;
        if udp.dst_port != DHCP_PORT || !for_us {
            return Ok(false);
        }
        if udp.checksum != 0 {
            packet.verify(DropReason::UdpBadChecksum)?;
        }
        self.push_service(ServiceMessage {
            mac: packet.mac,
            src: SocketAddrV4::new(packet.ip.src, udp.src_port),
            dst: SocketAddrV4::new(packet.ip.dst, udp.dst_port),
            payload: udp.payload.to_vec(),
        })?;
        Ok(true)
    }

    fn tcp_input(&mut self, packet: &Packet<'_>, out: &mut Outbox) -> Result<(), DropReason> {
        let seg = Tcp::parse(packet.ip.payload)?;
        packet.verify(DropReason::TcpBadChecksum)?;
        let our = SocketAddrV4::new(packet.ip.dst, seg.dst_port);
        let guest = SocketAddrV4::new(packet.ip.src, seg.src_port);
        let ends = Ends { our, guest, mac: packet.mac };
        let key = Key { protocol: protocol::TCP, guest, our };
        let Some(token) = self.flows.find(&key) else {
            return self.tcp_unknown(packet, &seg, key, ends, out);
        };
        self.with_tcp(packet.now, token, out, |flow, cx| {
            flow.ends.mac = packet.mac;
            flow.segment(cx, &seg)
        });
        self.queue_acknowledgement(token);
        Ok(())
    }

    fn tcp_unknown(
        &mut self,
        packet: &Packet<'_>,
        seg: &Tcp<'_>,
        key: Key,
        ends: Ends,
        out: &mut Outbox,
    ) -> Result<(), DropReason> {
        use tcp::wire_flags::{ACK, FIN, RST, SYN};
        if seg.flags & (SYN | ACK | RST | FIN) != SYN {
            if self.parted.answer(packet.now, out, &self.config, &ends, seg) {
                return Err(DropReason::TcpDuplicate);
            }
            tcp::reset_stray(out, &self.config, &ends, seg);
            return Err(DropReason::TcpNoFlow);
        }
        let target = self.config.target(key.our, self.resolvers.first().copied());
        let opened = target.and_then(|to| self.tcp_open(packet, seg, key, ends, to, out));
        if let Err(reason) = opened
            && answers_with_reset(reason)
        {
            tcp::refuse(out, &self.config, &ends, seg.seq.wrapping_add(1));
        }
        opened
    }

    fn tcp_open(
        &mut self,
        packet: &Packet<'_>,
        seg: &Tcp<'_>,
        key: Key,
        ends: Ends,
        target: SocketAddr,
        out: &mut Outbox,
    ) -> Result<(), DropReason> {
        self.learn(packet.now, *key.guest.ip(), packet.mac, out);
        let token = self.flows.vacancy().ok_or(DropReason::FlowTableFull)?;
        let socket = match self.host.tcp_connect(token, target) {
            Ok(socket) => socket,
            Err(error) => {
                let reason = reason_of(&error);
                if !answers_with_reset(reason) {
                    self.answer_error(reason, &ends, packet.bytes, out);
                }
                return Err(reason);
            }
        };
        let iss = self.initial_sequence(&key, packet.now);
        let flow = TcpFlow::from_guest(socket, ends, seg, self.config.mtu, iss, packet.now);
        self.flows.insert(key, Flow::Tcp(flow));
        self.half_open_begins(packet.now, token, out);
        // On the loopback the connect has ended by now; elsewhere this arms the timer.
        self.host_event(packet.now, token, crate::Readiness::default(), out);
        Ok(())
    }

    /// RFC 6528: a keyed hash of the ends plus a clock of four microseconds; another part of the hash for timestamps.
    pub(super) fn initial_sequence(&self, key: &Key, now: Time) -> tcp::Start {
        let hash = self.secret.hash(key);
        tcp::Start { iss: (hash as u32).wrapping_add((now.0 / 4) as u32), clock: (hash >> 32) as u32 }
    }

    /// The host could not connect: tell the guest as the kernel told us.
    pub(super) fn connect_failed(&mut self, token: Token, error: &io::Error, out: &mut Outbox) {
        let Some(Flow::Tcp(flow)) = self.flows.get(token) else { return };
        let (ends, ack) = (flow.ends, flow.syn_ack_number());
        let reason = reason_of(error);
        self.drops.count(reason);
        if answers_with_reset(reason) {
            tcp::refuse(out, &self.config, &ends, ack);
        } else {
            let quote = emit::quote_syn(&ends, ack.wrapping_sub(1));
            self.answer_error(reason, &ends, &quote, out);
        }
        self.end_tcp(token, Verdict::Close);
    }

    /// An ICMP error about `original`, where one says more than silence.
    fn answer_error(&mut self, reason: DropReason, ends: &Ends, original: &[u8], out: &mut Outbox) {
        let code = match reason {
            DropReason::HostUnreachable => code::HOST,
            DropReason::Restricted | DropReason::HostLoopbackForbidden | DropReason::PingForbidden => {
                code::ADMIN_PROHIBITED
            }
            DropReason::NoResolver | DropReason::UnknownService | DropReason::HostRefused => code::PORT,
            _ => return,
        };
        emit::icmp_unreachable(out, &self.config, *ends.guest.ip(), ends.mac, code, original);
    }

    fn udp_input(&mut self, packet: &Packet<'_>, out: &mut Outbox) -> Result<(), DropReason> {
        let udp = Udp::parse(packet.ip.payload)?;
        if udp.checksum != 0 {
            packet.verify(DropReason::UdpBadChecksum)?;
        }
        let our = SocketAddrV4::new(packet.ip.dst, udp.dst_port);
        let guest = SocketAddrV4::new(packet.ip.src, udp.src_port);
        let segment = packet.frame.offload.gso.map(|gso| gso.size);
        self.datagram_out(packet, protocol::UDP, our, guest, udp.payload, segment, out)
    }

    fn icmp_input(&mut self, packet: &Packet<'_>, out: &mut Outbox) -> Result<(), DropReason> {
        let icmp = Icmp::parse(packet.ip.payload)?;
        if icmp.kind != icmpv4::kind::ECHO_REQUEST {
            return Err(DropReason::UnknownService);
        }
        let guest = SocketAddrV4::new(packet.ip.src, icmp.ident);
        let our = SocketAddrV4::new(packet.ip.dst, 0);
        if self.config.is_ours(packet.ip.dst) {
            if ipv4::HEADER_LEN + packet.ip.payload.len() > usize::from(self.config.mtu) {
                return Err(DropReason::TooBigForGuest);
            }
            let ends = Ends { our, guest, mac: packet.mac };
            let reply = icmpv4::kind::ECHO_REPLY;
            emit::icmp_echo(out, &self.config, &ends, reply, icmp.ident, icmp.seq, icmp.payload);
            return Ok(());
        }
        self.datagram_out(packet, protocol::ICMP, our, guest, packet.ip.payload, None, out)
    }

    #[allow(clippy::too_many_arguments)] // a datagram is just that many things
    fn datagram_out(
        &mut self,
        packet: &Packet<'_>,
        protocol: u8,
        our: SocketAddrV4,
        guest: SocketAddrV4,
        data: &[u8],
        segment: Option<u16>,
        out: &mut Outbox,
    ) -> Result<(), DropReason> {
        let ends = datagram::ends(our, guest, packet.mac);
        let sent = self.datagram_send(packet.now, protocol, &ends, data, segment);
        if let Err(reason) = sent {
            self.answer_error(reason, &ends, packet.bytes, out);
        }
        self.learn(packet.now, *guest.ip(), packet.mac, out);
        sent
    }

    fn datagram_send(
        &mut self,
        now: Time,
        protocol: u8,
        ends: &Ends,
        data: &[u8],
        segment: Option<u16>,
    ) -> Result<(), DropReason> {
        let exact = Key { protocol, guest: ends.guest, our: ends.our };
        let (token, target) = match self.flows.find(&exact) {
            Some(token) => (token, None),
            None => self.mapping(now, exact, ends)?,
        };
        let Some(Flow::Datagram(flow)) = self.flows.get(token) else { return Err(DropReason::FlowTableFull) };
        flow.ends.mac = ends.mac;
        flow.touch(now);
        let sent = flow.send(&mut self.host, &mut self.forwards, target, data, segment);
        self.flows.arm(token);
        sent.map_err(|error| reason_of(&error))
    }

    /// The mapping for a datagram that belongs to no exact flow: found or made.
    fn mapping(
        &mut self,
        now: Time,
        exact: Key,
        ends: &Ends,
    ) -> Result<(Token, Option<SocketAddr>), DropReason> {
        let target = self.config.target(ends.our, self.resolvers.first().copied())?;
        let is_dns = exact.protocol == protocol::UDP && *ends.our.ip() == self.config.dns;
        let key = if is_dns { exact } else { Key { our: ANY, ..exact } };
        if let Some(token) = self.flows.find(&key) {
            return Ok((token, Some(target)));
        }
        let token = self.flows.vacancy().ok_or(DropReason::FlowTableFull)?;
        let kind = if key.protocol == protocol::ICMP { DatagramKind::Ping4 } else { kind_for(&target) };
        let socket = self.host.datagram_open(token, kind).map_err(|error| open_reason(kind, &error))?;
        let via = match kind {
            DatagramKind::Ping4 => Via::Ping(socket),
            _ if is_dns => Via::Dns(socket, target),
            _ => Via::Cone(socket),
        };
        self.flows.insert(key, Flow::Datagram(DatagramFlow::new(via, *ends, now)));
        Ok((token, Some(target)))
    }

    pub(super) fn learn(&mut self, now: Time, ip: Ipv4Addr, mac: Mac, out: &mut Outbox) {
        if self.neighbors.learn(ip, mac) && !self.unresolved.is_empty() {
            self.resolved(now, ip, mac, out);
        }
    }
}

fn kind_for(target: &SocketAddr) -> DatagramKind {
    if target.is_ipv6() { DatagramKind::Udp6 } else { DatagramKind::Udp4 }
}

fn open_reason(kind: DatagramKind, error: &io::Error) -> DropReason {
    match error.kind() {
        io::ErrorKind::PermissionDenied if kind == DatagramKind::Ping4 => DropReason::PingForbidden,
        _ => reason_of(error),
    }
}

/// Which refusals a TCP client should learn at once, by RST.
fn answers_with_reset(reason: DropReason) -> bool {
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
fn reason_of(error: &io::Error) -> DropReason {
    use io::ErrorKind as K;
    match error.kind() {
        K::ConnectionRefused | K::ConnectionReset => DropReason::HostRefused,
        K::NetworkUnreachable | K::HostUnreachable | K::TimedOut => DropReason::HostUnreachable,
        K::PermissionDenied => DropReason::Restricted,
        K::WouldBlock => DropReason::QueueFull,
        _ if is_out_of_descriptors(error) => DropReason::DescriptorsExhausted,
        _ => DropReason::HostSendFailed,
    }
}

fn is_out_of_descriptors(error: &io::Error) -> bool {
    // EMFILE, ENFILE, ENOBUFS, ENOMEM, EADDRNOTAVAIL (no local port left): std has no stable kinds for these.
    matches!(error.raw_os_error(), Some(24 | 23 | 105 | 12 | 99))
}
