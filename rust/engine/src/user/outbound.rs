//! Packets from guests: who may send what where, and which flow it belongs to.

use super::datagram::{DatagramFlow, Via};
use super::emit::{self, Echo, Ends};
use super::errors::{answers_with_reset, open_reason, reason_of};
use super::flows::{ANY, Flow, Key};
use super::tcp::{self, TcpFlow};
use super::{Config, UserNet};
use crate::host::{DatagramKind, Host, Sending};
use crate::outbox::Outbox;
use crate::report::Report;
use crate::table::Token;
use crate::time::Time;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use wirebay_wire::ethernet::{Ethernet, Mac};
use wirebay_wire::fragment::Fragment;
use wirebay_wire::icmpv4::{self, Icmp};
use wirebay_wire::icmpv6::{self, Icmpv6};
use wirebay_wire::ip::Ip;
use wirebay_wire::ipv4::{Ipv4, protocol};
use wirebay_wire::ipv6::Ipv6;
use wirebay_wire::tcp::Tcp;
use wirebay_wire::udp::Udp;
use wirebay_wire::{DropReason, Frame, checksum};

/// Where DHCP clients send to (RFC 2131 section 4.1).
const DHCP_PORT: u16 = 67;
/// Where DHCPv6 clients send to (RFC 8415 section 7).
const DHCPV6_PORT: u16 = 547;
const DHCPV6_GROUP: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2);

/// Whoever lets a SYN go less far wants to know where it ends. What a guest forwards for others has come fewer hops.
const PROBE: u8 = 32;

/// A packet from a guest.
pub(super) struct Packet<'a> {
    pub now: Time,
    pub mac: Mac,
    pub ip: Ip<'a>,
    pub frame: &'a Frame<'a>,
}

impl Packet<'_> {
    /// Verify the transport checksum, unless it is known to be right or not computed yet.
    pub fn verify(&self, bad: DropReason) -> Result<(), DropReason> {
        let offload = &self.frame.offload;
        if offload.checksum.is_some() || offload.checksum_valid {
            return Ok(());
        }
        let sum = checksum::add(self.ip.pseudo(), self.ip.payload);
        if checksum::finish(sum) == 0 { Ok(()) } else { Err(bad) }
    }

    /// A datagram, its checksum verified where there is one; only IPv4 may do without (RFC 8200 section 8.1).
    fn udp(&self) -> Result<Udp<'_>, DropReason> {
        let udp = Udp::parse(self.ip.payload)?;
        if udp.checksum != 0 || self.ip.src.is_ipv6() {
            self.verify(DropReason::UdpBadChecksum)?;
        }
        Ok(udp)
    }

    fn ends(&self, our_port: u16, guest_port: u16) -> Ends {
        Ends {
            our: SocketAddr::new(self.ip.dst, our_port),
            guest: SocketAddr::new(self.ip.src, guest_port),
            mac: self.mac,
        }
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
        self.check_station(ethernet.dst, self.config.v4.is_some())?;
        let ip = Ipv4::parse(ethernet.payload)?;
        if ip.is_fragment() {
            return self.fragment_input(now, ethernet, out);
        }
        let packet = Packet { now, mac: ethernet.src, ip: (ip, ethernet.payload).into(), frame };
        self.ip_input(&packet, ethernet.dst, out)
    }

    pub(super) fn ipv6_input(
        &mut self,
        now: Time,
        ethernet: &Ethernet<'_>,
        frame: &Frame<'_>,
        out: &mut Outbox,
    ) -> Result<(), DropReason> {
        self.check_station(ethernet.dst, self.config.v6.is_some())?;
        let ip = match Ipv6::parse(ethernet.payload) {
            Err(DropReason::Ipv6Fragment) => return self.fragment_input(now, ethernet, out),
            parsed => parsed?,
        };
        let packet = Packet { now, mac: ethernet.src, ip: (ip, ethernet.payload).into(), frame };
        if packet.ip.protocol == icmpv6::PROTOCOL && self.ndp_input(&packet, out)? {
            return Ok(());
        }
        self.ip_input(&packet, ethernet.dst, out)
    }

    /// A fragment waits for the others, or completes a packet, which then takes the ordinary way. Neighbour discovery is
    /// not looked for in it (RFC 6980).
    fn fragment_input(
        &mut self,
        now: Time,
        ethernet: &Ethernet<'_>,
        out: &mut Outbox,
    ) -> Result<(), DropReason> {
        let fragment = Fragment::parse(ethernet.payload)?.ok_or(DropReason::FragmentMalformed)?;
        if !self.config.is_guest(fragment.key.src) {
            return Err(DropReason::SourceNotInNet);
        }
        let whole = self.reassembly.input(now, ethernet.src, &fragment, &mut self.drops)?;
        let Some(whole) = whole else { return Ok(()) };
        let ip: Ip<'_> = if fragment.key.src.is_ipv4() {
            (Ipv4::parse(&whole)?, &whole[..]).into()
        } else {
            (Ipv6::parse(&whole)?, &whole[..]).into()
        };
        // Who sends fragments does not mind if others make some.
        let ip = Ip { dont_fragment: false, ..ip };
        let packet = Packet { now, mac: ethernet.src, ip, frame: &Frame::plain(&[]) };
        self.ip_input(&packet, ethernet.dst, out)
    }

    /// Is the frame for one of our stations, or for all?
    fn check_station(&self, dst: Mac, family_is_on: bool) -> Result<(), DropReason> {
        let config = &self.config;
        let plans = config.v4.iter().chain(&config.v6);
        let mut ours = plans.flat_map(|plan| [plan.host, plan.dns]).chain(config.services.iter().copied());
        if !family_is_on {
            return Err(DropReason::UnknownEthertype);
        }
        if dst.is_multicast() || ours.any(|addr| dst == Config::mac_of(addr)) {
            return Ok(());
        }
        Err(DropReason::NotForUs)
    }

    fn ip_input(&mut self, packet: &Packet<'_>, station: Mac, out: &mut Outbox) -> Result<(), DropReason> {
        let ip = &packet.ip;
        if ip.protocol == protocol::UDP && self.dhcp_input(packet)? {
            return Ok(());
        }
        if !self.config.is_guest(ip.src) {
            return Err(DropReason::SourceNotInNet);
        }
        if station.is_multicast() || ip.dst.is_multicast() || self.config.is_broadcast(ip.dst) {
            return Err(DropReason::MartianDestination);
        }
        match ip.protocol {
            protocol::TCP => self.tcp_input(packet, out),
            protocol::UDP => self.udp_input(packet, out),
            protocol::ICMP if ip.src.is_ipv4() => self.icmp_input(packet, out),
            icmpv6::PROTOCOL if ip.src.is_ipv6() => self.icmpv6_input(packet, out),
            _ => {
                self.answer_error(DropReason::UnknownProtocol, &packet.ends(0, 0), ip.packet, out);
                Err(DropReason::UnknownProtocol)
            }
        }
    }

    fn tcp_input(&mut self, packet: &Packet<'_>, out: &mut Outbox) -> Result<(), DropReason> {
        let seg = Tcp::parse(packet.ip.payload)?;
        packet.verify(DropReason::TcpBadChecksum)?;
        let ends = packet.ends(seg.dst_port, seg.src_port);
        let key = Key { protocol: protocol::TCP, guest: ends.guest, our: ends.our };
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
        if let Some(service) = self.services.find(&key) {
            return self.service_syn(packet, service, key, ends, out);
        }
        let target = self.config.target(key.our, self.resolvers.first().copied());
        let opened = target.and_then(|to| self.tcp_open(packet, seg, key, ends, to, out));
        match opened {
            Err(reason) if answers_with_reset(reason) => {
                tcp::refuse(out, &self.config, &ends, seg.seq.wrapping_add(1));
            }
            Err(reason) => self.answer_error(reason, &ends, packet.ip.packet, out),
            Ok(()) => {}
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
        self.learn(packet.now, key.guest.ip(), packet.mac, out);
        let token = self.flows.vacancy().ok_or(DropReason::FlowTableFull)?;
        let hops = Some(packet.ip.hops).filter(|&hops| hops < PROBE);
        let socket = self.host.tcp_connect(token, target, hops).map_err(|error| reason_of(&error))?;
        self.tcp_begin(packet.now, key, (token, socket), ends, seg, out);
        Ok(())
    }

    /// A guest's connection begins to open: its host socket, registered under `token`, is connecting or connected.
    pub(super) fn tcp_begin(
        &mut self,
        now: Time,
        key: Key,
        (token, socket): (Token, H::Tcp),
        ends: Ends,
        syn: &Tcp<'_>,
        out: &mut Outbox,
    ) {
        let start = self.initial_sequence(&key, now);
        let flow = TcpFlow::from_guest(socket, ends, syn, &self.config, start, now);
        self.flows.insert(key, Flow::Tcp(flow));
        self.half_open_begins(now, token, out);
        // On the loopback the connect has ended by now; elsewhere this arms the timer.
        self.host_event(now, token, crate::Readiness::default(), out);
    }

    /// RFC 6528: a keyed hash of the ends plus a clock of four microseconds; another part of the hash for timestamps.
    pub(super) fn initial_sequence(&self, key: &Key, now: Time) -> tcp::Start {
        let hash = self.secret.hash(key);
        tcp::Start { iss: (hash as u32).wrapping_add((now.0 / 4) as u32), clock: (hash >> 32) as u32 }
    }

    fn udp_input(&mut self, packet: &Packet<'_>, out: &mut Outbox) -> Result<(), DropReason> {
        let udp = packet.udp()?;
        let ends = packet.ends(udp.dst_port, udp.src_port);
        let key = Key { protocol: protocol::UDP, guest: ends.guest, our: ends.our };
        if self.services.find(&key).is_some() {
            self.learn(packet.now, packet.ip.src, packet.mac, out);
            return self.push_service(&ends, udp.payload);
        }
        let segment = packet.frame.offload.gso.map(|gso| gso.size);
        self.datagram_out(packet, protocol::UDP, &ends, udp.payload, segment, out)
    }

    /// DHCP goes to the service, whatever its source address; true if this was DHCP.
    fn dhcp_input(&mut self, packet: &Packet<'_>) -> Result<bool, DropReason> {
        let dst = packet.ip.dst;
        let (port, group) = match dst {
            IpAddr::V4(_) => (DHCP_PORT, self.config.is_broadcast(dst)),
            IpAddr::V6(_) => (DHCPV6_PORT, dst == IpAddr::V6(DHCPV6_GROUP)),
        };
        if Udp::parse(packet.ip.payload)?.dst_port != port || !(group || self.config.is_host(dst)) {
            return Ok(false);
        }
        let udp = packet.udp()?;
        self.push_service(&packet.ends(udp.dst_port, udp.src_port), udp.payload)?;
        Ok(true)
    }

    fn icmp_input(&mut self, packet: &Packet<'_>, out: &mut Outbox) -> Result<(), DropReason> {
        let icmp = Icmp::parse(packet.ip.payload)?;
        match icmp.kind {
            icmpv4::kind::ECHO_REQUEST => {}
            icmpv4::kind::ECHO_REPLY => return self.pong(packet, icmp.ident, icmp.seq),
            kind => {
                // The next hop's MTU is the second half of the word (RFC 1191 section 4).
                let report = Report::from_v4(kind, icmp.code, u32::from(icmp.seq));
                return self.guest_reports(packet, report, icmp.payload, out);
            }
        }
        let echo = Echo { reply: true, ident: icmp.ident, seq: icmp.seq, payload: icmp.payload };
        self.echo_input(packet, protocol::ICMP, &echo, out)
    }

    fn icmpv6_input(&mut self, packet: &Packet<'_>, out: &mut Outbox) -> Result<(), DropReason> {
        let (IpAddr::V6(src), IpAddr::V6(dst)) = (packet.ip.src, packet.ip.dst) else {
            return Err(DropReason::UnknownProtocol);
        };
        let icmp = Icmpv6::parse(src, dst, packet.ip.payload)?;
        match icmp.kind {
            icmpv6::kind::ECHO_REQUEST => {}
            icmpv6::kind::ECHO_REPLY => return self.pong(packet, icmp.ident, icmp.seq),
            kind => {
                let report = Report::from_v6(kind, icmp.code, u32::from_be_bytes(icmp.rest));
                return self.guest_reports(packet, report, icmp.payload, out);
            }
        }
        let echo = Echo { reply: true, ident: icmp.ident, seq: icmp.seq, payload: icmp.payload };
        self.echo_input(packet, icmpv6::PROTOCOL, &echo, out)
    }

    /// An echo request: ours are answered here, others go out. `reply` is what would answer it.
    fn echo_input(
        &mut self,
        packet: &Packet<'_>,
        protocol: u8,
        reply: &Echo<'_>,
        out: &mut Outbox,
    ) -> Result<(), DropReason> {
        let ends = packet.ends(0, reply.ident);
        if !self.config.answers_for(packet.ip.dst) {
            return self.datagram_out(packet, protocol, &ends, packet.ip.payload, None, out);
        }
        let sent = emit::echo(out, &self.config, &ends, reply);
        self.learn(packet.now, packet.ip.src, packet.mac, out);
        sent
    }

    fn datagram_out(
        &mut self,
        packet: &Packet<'_>,
        protocol: u8,
        ends: &Ends,
        data: &[u8],
        segment: Option<u16>,
        out: &mut Outbox,
    ) -> Result<(), DropReason> {
        let how = Sending { segment, hops: packet.ip.hops, dont_fragment: packet.ip.dont_fragment };
        let sent = self.datagram_send(packet, protocol, ends, data, how, out);
        if let Err(reason) = sent {
            self.answer_error(reason, ends, packet.ip.packet, out);
        }
        self.learn(packet.now, packet.ip.src, packet.mac, out);
        sent
    }

    fn datagram_send(
        &mut self,
        packet: &Packet<'_>,
        protocol: u8,
        ends: &Ends,
        data: &[u8],
        how: Sending,
        out: &mut Outbox,
    ) -> Result<(), DropReason> {
        let exact = Key { protocol, guest: ends.guest, our: ends.our };
        let (token, target) = match self.flows.find(&exact) {
            Some(token) => (token, None),
            None => self.mapping(packet.now, exact, ends)?,
        };
        let Some(Flow::Datagram(flow)) = self.flows.get(token) else { return Err(DropReason::FlowTableFull) };
        flow.ends.mac = ends.mac;
        flow.touch(packet.now);
        let sent = flow.send(&mut self.host, &mut self.forwards, target, data, how);
        self.flows.arm(token);
        let reason = sent.map_err(|error| reason_of(&error));
        if reason == Err(DropReason::TooBigForPath) {
            self.too_big_for_path(packet, token, out);
        }
        reason
    }

    /// The mapping for a datagram that belongs to no exact flow: found or made.
    fn mapping(
        &mut self,
        now: Time,
        exact: Key,
        ends: &Ends,
    ) -> Result<(Token, Option<SocketAddr>), DropReason> {
        let target = self.config.target(ends.our, self.resolvers.first().copied())?;
        let is_dns = exact.protocol == protocol::UDP && self.config.is_dns(ends.our.ip());
        let key = if is_dns { exact } else { Key { our: ANY, ..exact } };
        if let Some(token) = self.flows.find(&key) {
            return Ok((token, Some(target)));
        }
        let token = self.flows.vacancy().ok_or(DropReason::FlowTableFull)?;
        let kind = kind_for(key.protocol, &target);
        let socket = self.host.datagram_open(token, kind).map_err(|error| open_reason(kind, &error))?;
        let via = match kind {
            DatagramKind::Ping4 | DatagramKind::Ping6 => Via::Ping(socket),
            _ if is_dns => Via::Dns(socket, target),
            _ => Via::Cone(socket),
        };
        self.flows.insert(key, Flow::Datagram(DatagramFlow::new(via, *ends, now)));
        self.datagrams_begin(token);
        Ok((token, Some(target)))
    }

    pub(super) fn learn(&mut self, now: Time, ip: IpAddr, mac: Mac, out: &mut Outbox) {
        if self.neighbors.learn(ip, mac) {
            self.resolved(now, ip, mac, out);
        }
    }
}

fn kind_for(protocol: u8, target: &SocketAddr) -> DatagramKind {
    match protocol {
        protocol::ICMP => DatagramKind::Ping4,
        icmpv6::PROTOCOL => DatagramKind::Ping6,
        _ if target.is_ipv6() => DatagramKind::Udp6,
        _ => DatagramKind::Udp4,
    }
}
