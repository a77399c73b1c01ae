//! The user network: a router, seen from the guests, that turns their packets into the host's sockets and back.
//!
//! # Theory of operation
//!
//! [`UserNet`] is a pure machine. Frames come in through [`UserNet::input`], events of host sockets through
//! [`UserNet::host_event`], time through [`UserNet::on_time`]; frames leave through the [`Outbox`] given to each call.
//! Two things are put off on purpose:
//!
//! - Acknowledgements wait for [`UserNet::end_batch`], so that many segments of one read get one answer.
//! - Bulk data towards guests is sent by [`UserNet::run`], one super-segment a flow in turn, as long as there is room on
//!   the way to that guest. A flow whose guest does not drain waits aside until [`UserNet::unstall`].
//!
//! A frame is dropped with a reason, or it reaches one of: ARP or neighbour discovery for our addresses, a service in
//! Python (DHCP, DNS, TFTP ...), echo, a datagram flow, a TCP flow. Both families take the same way (`outbound.rs`), and
//! fragments do when their packet is whole (`reassembly.rs`). Sources outside the guest network are refused, so that no
//! guest can open flows in the name of others, and so are destinations that the host would take for itself; what is
//! refused, here or by the network behind the host, is told to the guest (`errors.rs`).

mod config;
mod datagram;
mod emit;
mod errors;
mod flows;
mod forwards;
pub mod fragmenting;
mod half_open;
mod inbound;
mod listing;
mod neighbors;
mod outbound;
pub mod reassembly;
mod router;
mod services;
pub mod tcp;
mod too_big;
mod unanswered;

pub use config::{Config, Plan};
pub use flows::{Census, Secret};
pub use forwards::Forwards;
pub use listing::{Listed, Tally};
pub use router::{Ping, Pong};
pub use services::{Call, ServiceMessage};

use crate::counters::Drops;
use crate::host::{Host, Readiness};
use crate::outbox::Outbox;
use crate::table::Token;
use crate::time::Time;
use flows::{Flow, Flows};
use half_open::HalfOpen;
use neighbors::Neighbors;
use reassembly::Reassembly;
use router::Router;
use services::Services;
use std::collections::VecDeque;
use std::net::IpAddr;
use tcp::parted::Parted;
use tcp::send::Pumped;
use tcp::{Cx, TcpFlow, Verdict, flags};
use unanswered::Unanswered;
use wirebay_wire::arp::{self, Arp};
use wirebay_wire::ethernet::{Ethernet, Mac, ethertype};
use wirebay_wire::{DropReason, Frame};

/// What all flows of a network together may hold for host sockets that are full.
const BACKLOG_BUDGET: usize = 64 << 20;
/// Super-segments sent in one call of [`UserNet::run`], so that frames from guests are not kept waiting.
const RUN: usize = 16;
/// What a frame on its way to a guest may take of its room beyond its length: one receive buffer of a common driver.
const BUFFER: usize = 1526;
/// More room than any one call needs.
const MOST_ROOM: usize = 1 << 20;

/// The machine. `H` is the host's socket layer, a real one or a test's.
pub struct UserNet<H: Host> {
    config: Config,
    host: H,
    flows: Flows<H>,
    forwards: Forwards<H::Datagram>,
    neighbors: Neighbors,
    resolvers: Vec<IpAddr>,
    secret: Secret,
    budget: usize,
    to_acknowledge: Vec<Token>,
    to_run: VecDeque<Token>,
    stalled: Vec<Token>,
    unresolved: Vec<Token>,
    services: Services,
    router: Router,
    half_open: HalfOpen,
    unanswered: Unanswered,
    parted: Parted,
    reassembly: Reassembly,
    /// Frames and datagrams this network dropped.
    pub drops: Drops,
}

impl<H: Host> UserNet<H> {
    /// A network without guests. `secret` keys the hashes; a test gives a fixed one to repeat a run.
    pub fn new(config: Config, host: H, secret: Secret) -> Self {
        UserNet {
            flows: Flows::new(config.max_flows, secret),
            router: Router::new(&config),
            half_open: HalfOpen::new(config.max_flows),
            unanswered: Unanswered::new(config.max_flows),
            parted: Parted::default(),
            config,
            host,
            forwards: Forwards::default(),
            neighbors: Neighbors::default(),
            resolvers: Vec::new(),
            secret,
            budget: BACKLOG_BUDGET,
            to_acknowledge: Vec::new(),
            to_run: VecDeque::new(),
            stalled: Vec::new(),
            unresolved: Vec::new(),
            services: Services::default(),
            reassembly: Reassembly::default(),
            drops: Drops::default(),
        }
    }

    /// The settings.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The host's socket layer.
    pub fn host(&mut self) -> &mut H {
        &mut self.host
    }

    /// How many flows there are.
    pub fn census(&self) -> Census {
        self.flows.census()
    }

    /// Where questions to the name server go, best first.
    pub fn set_resolvers(&mut self, servers: Vec<IpAddr>) {
        self.resolvers = servers;
    }

    /// A frame from the segment.
    pub fn input(&mut self, now: Time, frame: &Frame<'_>, out: &mut Outbox) {
        if let Err(reason) = self.dispatch(now, frame, out) {
            self.drops.count(reason);
        }
    }

    fn dispatch(&mut self, now: Time, frame: &Frame<'_>, out: &mut Outbox) -> Result<(), DropReason> {
        let ethernet = Ethernet::parse(frame.bytes)?;
        if ethernet.src.is_multicast() {
            return Err(DropReason::NotForUs);
        }
        match ethernet.ethertype {
            ethertype::IPV4 => self.ipv4_input(now, &ethernet, frame, out),
            ethertype::IPV6 => self.ipv6_input(now, &ethernet, frame, out),
            ethertype::ARP => self.arp_input(now, &ethernet, out),
            _ => Err(DropReason::UnknownEthertype),
        }
    }

    fn arp_input(&mut self, now: Time, ethernet: &Ethernet<'_>, out: &mut Outbox) -> Result<(), DropReason> {
        let message = Arp::parse(ethernet.payload)?;
        if self.config.is_guest(message.sender_ip.into()) && message.sender_mac == ethernet.src {
            self.learn(now, message.sender_ip.into(), message.sender_mac, out);
        }
        if message.operation != arp::REQUEST {
            return Ok(());
        }
        if !self.config.answers_for(message.target_ip.into()) {
            return Err(DropReason::NotForUs);
        }
        emit::arp(out, arp::REPLY, message.target_ip, message.sender_ip, ethernet.src);
        Ok(())
    }

    /// A frame or more have been put in; answer what wants an answer.
    pub fn end_batch(&mut self, now: Time, out: &mut Outbox) {
        let mut list = std::mem::take(&mut self.to_acknowledge);
        for token in list.drain(..) {
            self.with_tcp(now, token, out, |flow, cx| {
                flow.clear(flags::ACK_QUEUED);
                flow.end_batch(cx);
                Verdict::Keep
            });
        }
        self.to_acknowledge = list;
        if let Err(error) = self.host.datagram_flush() {
            self.drops.count(errors::reason_of(&error));
        }
    }

    /// Something has happened to a host socket.
    pub fn host_event(&mut self, now: Time, token: Token, ready: Readiness, out: &mut Outbox) {
        match self.flows.get(token) {
            Some(Flow::Tcp(_)) => self.tcp_event(now, token, ready, out),
            Some(Flow::Datagram(flow)) if ready.readable || ready.error => {
                flow.failed |= ready.error;
                if !std::mem::replace(&mut flow.queued, true) {
                    self.to_run.push_back(token);
                }
            }
            _ => {}
        }
    }

    /// Send what is to be sent to guests, some of it. `room` tells how many bytes the way to a guest takes.
    /// True if there is more to do; deliver what is in `out` first.
    pub fn run(&mut self, now: Time, out: &mut Outbox, room: &dyn Fn(Mac) -> usize) -> bool {
        for _ in 0..RUN {
            if out.is_full() {
                break;
            }
            let Some(token) = self.to_run.pop_front() else { return false };
            match self.flows.get(token) {
                Some(Flow::Tcp(flow)) => {
                    let (all, segment) = (room(flow.ends.mac), flow.frame_len());
                    let left = all.saturating_sub(out.bytes() + out.count() * BUFFER);
                    if left < all.min(usize::from(u16::MAX)) {
                        // What waits for delivery takes room too: how much is only known afterwards.
                        self.to_run.push_front(token);
                        break;
                    }
                    // Of a buffer at the far end a short segment takes as much as a long one.
                    let left = left.min(MOST_ROOM) / BUFFER.max(segment) * segment;
                    self.pump(now, token, out, left);
                }
                Some(Flow::Datagram(_)) => self.receive_datagrams(now, token, out),
                None => {}
            }
        }
        !self.to_run.is_empty()
    }

    fn pump(&mut self, now: Time, token: Token, out: &mut Outbox, room: usize) {
        let mut stalled = false;
        self.with_tcp(now, token, out, |flow, cx| {
            flow.clear(flags::PUMP_QUEUED);
            match flow.pump(cx, room) {
                Pumped::Idle => {}
                Pumped::More => flow.set(flags::PUMP_WANTED),
                Pumped::Stalled => {
                    flow.set(flags::PUMP_QUEUED);
                    stalled = true;
                }
                Pumped::Ended(verdict) => return verdict,
            }
            Verdict::Keep
        });
        if stalled {
            self.stalled.push(token);
        }
    }

    /// The way to some guest has drained: flows that waited for it may go on.
    pub fn unstall(&mut self) {
        self.to_run.extend(self.stalled.drain(..));
    }

    /// Does any flow wait for room on the way to its guest?
    pub fn is_stalled(&self) -> bool {
        !self.stalled.is_empty()
    }

    /// When [`UserNet::on_time`] wants to be called.
    pub fn next_deadline(&self) -> Option<Time> {
        let deadlines = [
            self.flows.next_deadline(),
            self.services.next_deadline(),
            self.router.next_deadline(),
            self.reassembly.next_deadline(),
        ];
        deadlines.into_iter().flatten().min()
    }

    /// Time has passed.
    pub fn on_time(&mut self, now: Time, out: &mut Outbox) {
        self.expire_calls(now, out);
        self.advertise_on_time(now, out);
        self.expire_fragments(now, out);
        while let Some(token) = self.flows.pop_due(now) {
            match self.flows.get(token) {
                Some(Flow::Tcp(_)) => self.with_tcp(now, token, out, TcpFlow::timeout),
                _ => drop(self.flows.remove(token)),
            }
        }
    }

    /// Call a TCP flow and do what follows: lists, timers, end.
    fn with_tcp(
        &mut self,
        now: Time,
        token: Token,
        out: &mut Outbox,
        call: impl FnOnce(&mut TcpFlow<H::Tcp>, &mut Cx<'_, H>) -> Verdict,
    ) {
        let Some(Flow::Tcp(flow)) = self.flows.get(token) else { return };
        let mut cx = Cx {
            now,
            host: &mut self.host,
            out,
            config: &self.config,
            drops: &mut self.drops,
            budget: &mut self.budget,
        };
        let was_half_open = flow.is_half_open();
        let verdict = call(flow, &mut cx);
        if verdict == Verdict::Close {
            self.parted.remember(flow.parting(now));
        }
        if verdict != Verdict::Keep {
            return self.end_tcp(token, verdict);
        }
        if was_half_open && !flow.is_half_open() {
            self.half_open.leave();
        }
        flow.schedule(now);
        if flow.is(flags::PUMP_WANTED) && !flow.is(flags::PUMP_QUEUED) {
            flow.set(flags::PUMP_QUEUED);
            self.to_run.push_back(token);
        }
        self.flows.arm(token);
    }

    fn end_tcp(&mut self, token: Token, verdict: Verdict) {
        if let Some(Flow::Tcp(flow)) = self.flows.remove(token) {
            self.budget += flow.held();
            if flow.is_half_open() {
                self.half_open.leave();
            }
            if verdict == Verdict::Abort {
                self.host.tcp_abort(flow.socket);
            }
        }
    }

    fn tcp_event(&mut self, now: Time, token: Token, ready: Readiness, out: &mut Outbox) {
        let (mut failed, mut wants_ack) = (None, false);
        self.with_tcp(now, token, out, |flow, cx| {
            if ready.read_closed {
                // Told once, and maybe together with the end of the connect.
                flow.set(flags::READ_CLOSED);
            }
            if flow.state() == tcp::State::Connecting {
                failed = flow.connect_progress(cx).err();
                return Verdict::Keep;
            }
            if ready.error && cx.host.tcp_connected(&mut flow.socket).is_err() {
                return flow.reset_guest(cx);
            }
            if ready.readable || ready.read_closed {
                flow.set(flags::READABLE | flags::PUMP_WANTED);
            }
            let verdict = if ready.writable { flow.writable(cx) } else { Verdict::Keep };
            wants_ack = flow.is(flags::ACK_WANTED);
            verdict
        });
        match failed {
            Some(error) => self.connect_failed(token, &error, out),
            None if wants_ack => self.queue_acknowledgement(token),
            None => {}
        }
    }

    /// The flow is looked at when the batch ends.
    fn queue_acknowledgement(&mut self, token: Token) {
        if let Some(Flow::Tcp(flow)) = self.flows.get(token)
            && !flow.is(flags::ACK_QUEUED)
        {
            flow.set(flags::ACK_QUEUED);
            self.to_acknowledge.push(token);
        }
    }

    /// Every flow ends now, as when the network goes away: TCP with resets on both sides.
    pub fn close(&mut self, now: Time, out: &mut Outbox) {
        for token in self.flows.tokens() {
            match self.flows.get(token) {
                Some(Flow::Tcp(_)) => self.with_tcp(now, token, out, TcpFlow::reset_guest),
                _ => drop(self.flows.remove(token)),
            }
        }
    }
}
