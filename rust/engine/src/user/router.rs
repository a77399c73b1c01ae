//! What makes us a router on the guests' link: neighbour discovery for our addresses, router advertisements, and
//! questions of our own to guests.
//!
//! Advertisements are sent when a guest asks (RFC 4861 section 6.2.6; at most one in [`PAUSE`] to everybody) and at
//! random intervals. What the guest learns from them: the prefix, the router, the MTU, the name server and the domains
//! to search (RFC 8106).

use super::config::{LINK_LOCAL_HOST, is_link_local};
use super::emit::{self, Echo, Ends};
use super::outbound::Packet;
use super::{Config, UserNet};
use crate::host::Host;
use crate::outbox::Outbox;
use crate::time::Time;
use std::collections::VecDeque;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use wirebay_wire::icmpv6::Icmpv6;
use wirebay_wire::ndp::{self, Advertisement, Ndp};
use wirebay_wire::{DropReason, Mac};

/// Shortest time between two advertisements that nobody asked for (RFC 4861 section 6.2.1) ...
const INTERVAL: Duration = Duration::from_secs(200);
/// ... and how much longer it may be.
const SPREAD: Duration = Duration::from_secs(400);
/// Shortest time between two advertisements to everybody (`MIN_DELAY_BETWEEN_RAS`).
const PAUSE: Duration = Duration::from_secs(3);
/// How long guests may use us as router and name server after the last advertisement: three intervals.
const LIFETIME: u16 = 1800;
/// How long the prefix is valid and preferred, as libslirp has it, in seconds.
const PREFIX_LIFETIMES: (u32, u32) = (86_400, 14_400);
/// Echo requests to guests that wait, for an answer to "who has" or for their own.
const PINGS: usize = 64;

/// A guest has answered an echo request of ours.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pong {
    /// Who.
    pub addr: IpAddr,
    /// The identifier it was asked with.
    pub ident: u16,
    /// The sequence number.
    pub seq: u16,
    /// The TTL or hop limit it came with.
    pub hops: u8,
}

/// An echo request to a guest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ping {
    /// Whom to ask.
    pub addr: IpAddr,
    /// Identifier.
    pub ident: u16,
    /// Sequence number.
    pub seq: u16,
    /// Bytes of data.
    pub size: u16,
}

/// The router's memory.
#[derive(Default)]
pub struct Router {
    /// When to advertise next; `None`: there is no IPv6 network.
    next: Option<Time>,
    /// When it last advertised to everybody.
    last: Option<Time>,
    count: u64,
    waiting: Vec<Ping>,
    /// Echo requests that were sent and not answered, the latest few.
    asked: VecDeque<(IpAddr, u16, u16)>,
    pongs: VecDeque<Pong>,
}

impl Router {
    /// The router of a network with or without IPv6.
    pub fn new(config: &Config) -> Self {
        Router { next: config.v6.map(|_| Time::default()), ..Router::default() }
    }

    /// When the next advertisement is due.
    pub fn next_deadline(&self) -> Option<Time> {
        self.next
    }
}

impl<H: Host> UserNet<H> {
    /// A message of neighbour discovery; false if it is none of those.
    pub(super) fn ndp_input(&mut self, packet: &Packet<'_>, out: &mut Outbox) -> Result<bool, DropReason> {
        let (IpAddr::V6(src), IpAddr::V6(dst)) = (packet.ip.src, packet.ip.dst) else { return Ok(false) };
        let icmp = Icmpv6::parse_unchecked(packet.ip.payload)?;
        if !(133..=137).contains(&icmp.kind) {
            return Ok(false);
        }
        if packet.ip.hops != ndp::HOP_LIMIT {
            return Err(DropReason::NdpMalformed);
        }
        let message = Ndp::parse(&Icmpv6::parse(src, dst, packet.ip.payload)?)?;
        let is_guest = self.config.is_guest(src.into());
        let known = |mac: Option<Mac>| mac.unwrap_or(packet.mac);
        match message {
            Ndp::RouterSolicitation(mac) => self.solicited(packet.now, (src, known(mac)), out),
            Ndp::Solicitation(target, mac) => {
                if is_guest {
                    self.learn(packet.now, src.into(), known(mac), out);
                }
                self.advertise_neighbor(src, packet.mac, target, out)?;
            }
            Ndp::Advertisement(target, mac) if self.config.is_guest(target.into()) => {
                self.learn(packet.now, target.into(), known(mac), out);
            }
            Ndp::Advertisement(..) => return Err(DropReason::SourceNotInNet),
        }
        Ok(true)
    }

    /// Who asks for one of our addresses is told; who only tries an address out (RFC 4862) is told with everybody.
    fn advertise_neighbor(
        &mut self,
        asker: Ipv6Addr,
        mac: Mac,
        target: Ipv6Addr,
        out: &mut Outbox,
    ) -> Result<(), DropReason> {
        if !self.config.answers_for(target.into()) {
            return Err(DropReason::NotForUs);
        }
        let trial = asker.is_unspecified();
        let (to, mac) =
            if trial { (ndp::ALL_NODES, ndp::multicast_mac(ndp::ALL_NODES)) } else { (asker, mac) };
        let ours = Config::mac_of(target.into());
        emit::icmpv6_message(out, (target, to), mac, ndp::NEIGHBOR_LEN, ours, |message| {
            ndp::emit_advertisement(message, (target, to), target, ours, !trial);
        });
        Ok(())
    }

    /// A guest looks for a router. One without an address yet is answered with everybody, but not too often.
    fn solicited(&mut self, now: Time, (src, mac): (Ipv6Addr, Mac), out: &mut Outbox) {
        if self.config.is_guest(src.into()) {
            self.learn(now, src.into(), mac, out);
            return self.advertise(src, mac, out);
        }
        let recently = self.router.last.is_some_and(|last| now.since(last) < PAUSE);
        if recently {
            // It will come soon: bring the next one forward.
            self.router.next = self.router.last.map(|last| last + PAUSE);
        } else {
            self.advertise_to_all(now, out);
        }
    }

    fn advertise_to_all(&mut self, now: Time, out: &mut Outbox) {
        self.router.last = Some(now);
        self.advertise(ndp::ALL_NODES, ndp::multicast_mac(ndp::ALL_NODES), out);
    }

    fn advertise(&mut self, to: Ipv6Addr, mac: Mac, out: &mut Outbox) {
        let Some(plan) = self.config.v6 else { return };
        let (IpAddr::V6(net), IpAddr::V6(dns)) = (plan.net, plan.dns) else { return };
        let ours = Config::mac_of(plan.host);
        let (restrict, search) = (self.config.restrict, &self.config.search);
        let message = Advertisement {
            mac: ours,
            router_lifetime: LIFETIME,
            other: true,
            prefix: (net, plan.prefix),
            lifetimes: PREFIX_LIFETIMES,
            mtu: self.config.mtu.into(),
            dns: (!restrict).then_some(dns),
            search: if restrict { &[] } else { search },
            dns_lifetime: LIFETIME.into(),
        };
        let ends = (LINK_LOCAL_HOST, to);
        emit::icmpv6_message(out, ends, mac, message.len(), ours, |buf| message.emit(buf, ends));
    }

    /// Advertise when it is time.
    pub(super) fn advertise_on_time(&mut self, now: Time, out: &mut Outbox) {
        if self.router.next.is_none_or(|next| now < next) {
            return;
        }
        self.advertise_to_all(now, out);
        self.router.count += 1;
        let random = self.secret.hash(&self.router.count) % SPREAD.as_micros() as u64;
        self.router.next = Some(now + INTERVAL + Duration::from_micros(random));
    }

    /// Ask a guest whether it is there; [`UserNet::pop_pong`] tells.
    pub fn ping(&mut self, ping: Ping, out: &mut Outbox) -> Result<(), DropReason> {
        if !self.config.is_guest(ping.addr) || self.config.plan(ping.addr).is_none() {
            return Err(DropReason::SourceNotInNet);
        }
        if self.neighbors.find(ping.addr).is_none() {
            if self.router.waiting.len() >= PINGS {
                self.router.waiting.remove(0);
            }
            self.router.waiting.push(ping);
            emit::who_has(out, &self.config, ping.addr);
            return Ok(());
        }
        self.send_ping(ping, out)
    }

    fn send_ping(&mut self, ping: Ping, out: &mut Outbox) -> Result<(), DropReason> {
        let mac = self.neighbors.find(ping.addr).ok_or(DropReason::NoNeighbor)?;
        let our = if is_link_local(ping.addr) {
            LINK_LOCAL_HOST.into()
        } else {
            self.config.plan(ping.addr).ok_or(DropReason::NoNeighbor)?.host
        };
        let ends = Ends { our: SocketAddr::new(our, 0), guest: SocketAddr::new(ping.addr, 0), mac };
        let most = usize::from(self.config.mtu) - wirebay_wire::ip::header_len(our) - 8;
        // Not all zeros: Linux answers a message whose sum is zero with a wrong checksum.
        let payload: Vec<u8> = (1..=u8::MAX).cycle().take(usize::from(ping.size).min(most)).collect();
        let echo = Echo { reply: false, ident: ping.ident, seq: ping.seq, payload: &payload };
        emit::echo(out, &self.config, &ends, &echo)?;
        if self.router.asked.len() >= PINGS {
            self.router.asked.pop_front();
        }
        self.router.asked.push_back((ping.addr, ping.ident, ping.seq));
        Ok(())
    }

    /// Pings that waited for the address of this guest go out.
    pub(super) fn ping_resolved(&mut self, addr: IpAddr, out: &mut Outbox) {
        let (ready, waiting) =
            std::mem::take(&mut self.router.waiting).into_iter().partition(|p| p.addr == addr);
        self.router.waiting = waiting;
        let ready: Vec<Ping> = ready;
        for ping in ready {
            if let Err(reason) = self.send_ping(ping, out) {
                self.drops.count(reason);
            }
        }
    }

    /// An echo reply from a guest.
    pub(super) fn pong(&mut self, packet: &Packet<'_>, ident: u16, seq: u16) -> Result<(), DropReason> {
        let (addr, hops) = (packet.ip.src, packet.ip.hops);
        let asked = &mut self.router.asked;
        let at = asked.iter().position(|&asked| asked == (addr, ident, seq));
        asked.remove(at.ok_or(DropReason::UnknownService)?);
        if self.router.pongs.len() >= PINGS {
            return Err(DropReason::ServiceBusy);
        }
        self.router.pongs.push_back(Pong { addr, ident, seq, hops });
        Ok(())
    }

    /// The next answer to a ping.
    pub fn pop_pong(&mut self) -> Option<Pong> {
        self.router.pongs.pop_front()
    }
}
