//! Ports, hubs and switches, and the frames between them.
//!
//! A frame is delivered while it lies in the buffer it came in; each port that cannot take it as it is gets it adapted.
//! Ports that work in batches, stream sockets and user networks, collect what they are given and are finished by
//! [`Plane::finish`] at the end of each round of the loop: acknowledgements, bulk data, one write a socket.
//!
//! While a user network is being called its machine is taken out of its port, so that the frames it sends can be
//! delivered to the other ports; a frame that reaches it in that moment (from a second user network on the same hub) is
//! dropped.

use crate::filters::Filter;
use crate::poll::Registrar;
use crate::ports::user::UserPort;
use crate::ports::{Kind, Port, tap};
use crate::sys::DatagramBatch;
use serde_json::Value;
use std::collections::HashMap;
use std::io;
use wirebay_engine::switch::Target;
use wirebay_engine::user::{Call, Pong};
use wirebay_engine::{Drops, Lan, Readiness, Time, Token, Traffic, segment};
use wirebay_wire::ethernet;
use wirebay_wire::pcap::Direction;
use wirebay_wire::{DropReason, Frame, Mac};

mod dgram;
mod filters;
mod segments;
mod stream;
mod vhost;

/// Frames read from one TAP for one wake-up.
const TAP_READS: usize = 64;
/// Rounds of bulk data a user network gets before new events are looked at.
const RUNS: usize = 4;

/// What became of a port by itself, for Python to know.
#[derive(Debug, PartialEq, Eq)]
pub enum Incident {
    /// A stream port has lost its peer.
    StreamClosed(String, String),
    /// A port is gone.
    PortFailed(String, String),
    /// A guest wants to connect to a service.
    ServiceConnect {
        /// The user network.
        port: String,
        /// The service's name.
        service: String,
        /// The connection.
        call: Call,
    },
    /// A guest has answered a ping.
    Pong(String, Pong),
    /// An event of segments and filters, as Python gets it.
    Event(Value),
}

/// A segment and its name.
pub struct NamedHub {
    /// The name Python gave it.
    pub name: String,
    /// Who is plugged in.
    pub lan: Lan,
}

/// Everything that frames move between.
pub struct Plane {
    /// Ports by number; numbers are used again.
    pub ports: Vec<Option<Port>>,
    /// Hubs and switches by number.
    pub hubs: Vec<Option<NamedHub>>,
    /// Port numbers by name.
    pub names: HashMap<String, usize>,
    /// Waiting to be told to Python.
    pub incidents: Vec<Incident>,
    /// The moment this round of the loop began.
    pub now: Time,
    /// Filters by number; each port has a chain of them.
    pub filters: Vec<Option<Filter>>,
    registrar: Registrar,
    targets: Vec<Target>,
    retagged: Vec<u8>,
    scratch: Vec<u8>,
    tap_buffer: Vec<u8>,
    /// Rings that had more than one round takes.
    to_poll: Vec<(usize, usize)>,
    stream_buffer: Vec<u8>,
    dgram_batch: Option<DatagramBatch>,
}

impl Plane {
    /// Without ports.
    pub fn new(registrar: Registrar) -> Self {
        Plane {
            ports: Vec::new(),
            hubs: Vec::new(),
            names: HashMap::new(),
            incidents: Vec::new(),
            now: Time::default(),
            filters: Vec::new(),
            registrar,
            targets: Vec::new(),
            retagged: Vec::new(),
            scratch: Vec::new(),
            tap_buffer: vec![0; tap::BUFFER],
            to_poll: Vec::new(),
            stream_buffer: Vec::new(),
            dgram_batch: None,
        }
    }

    /// The epoll set.
    pub fn registrar(&self) -> &Registrar {
        &self.registrar
    }

    /// The number the next port gets.
    pub fn vacancy(&self) -> usize {
        self.ports.iter().position(Option::is_none).unwrap_or(self.ports.len())
    }

    /// Add a port under the number [`Plane::vacancy`] told.
    pub fn add(&mut self, name: String, kind: Kind) {
        let number = self.vacancy();
        self.names.insert(name.clone(), number);
        let (rx, tx, drops) = (Traffic::default(), Traffic::default(), Drops::default());
        let (link, chain) = (true, Vec::new());
        let port = Port { name, hub: None, kind, rx, tx, link, chain, drops };
        if number == self.ports.len() {
            self.ports.push(None);
        }
        self.ports[number] = Some(port);
    }

    /// Remove a port; its descriptors are closed with it.
    pub fn remove(&mut self, number: usize) {
        let now = self.now;
        self.with_user(number, |user, _| user.net.close(now, &mut user.outbox));
        self.drop_filters(number);
        self.leave(number);
        if let Some(port) = self.ports[number].take() {
            self.names.remove(&port.name);
        }
    }

    /// Unplug a port.
    pub fn leave(&mut self, number: usize) {
        let hub = self.ports[number].as_mut().and_then(|port| port.hub.take());
        if let Some(Some(named)) = hub.map(|hub| &mut self.hubs[hub]) {
            named.lan.leave(number);
            // Whoever waited for room on this port waits for nothing now.
            self.unstall(hub);
        }
    }

    fn port(&mut self, number: usize) -> Option<&mut Port> {
        self.ports.get_mut(number)?.as_mut()
    }

    /// A port has a frame for its segment.
    fn deliver(&mut self, from: usize, frame: &Frame<'_>) {
        let Some(port) = self.ports[from].as_mut() else { return };
        if !port.link {
            return self.swallow(from, Direction::Outbound, frame);
        }
        port.rx.count(frame.bytes.len());
        if frame.bytes.len() < ethernet::HEADER_LEN {
            return port.drops.count(DropReason::FrameTooShort);
        }
        if port.chain.is_empty() || self.pass(from, Direction::Outbound, None, frame) {
            self.spread(from, frame);
        }
    }

    /// Bytes that the way from port `from` to `mac` takes before frames are dropped. An address nobody has seen goes
    /// everywhere, and the roomiest port counts.
    fn room(&self, from: usize, mac: Mac) -> usize {
        let hub = self.ports[from].as_ref().and_then(|port| port.hub);
        let Some(named) = hub.and_then(|hub| self.hubs[hub].as_ref()) else { return usize::MAX };
        match named.lan.way_to(self.now, from, mac) {
            Some(port) => self.port_room(port),
            None => named
                .lan
                .ports()
                .iter()
                .filter(|&&p| p != from)
                .map(|&p| self.port_room(p))
                .max()
                .unwrap_or(0),
        }
    }

    fn port_room(&self, number: usize) -> usize {
        match self.ports[number].as_ref().map(|port| &port.kind) {
            Some(Kind::Stream(stream)) => stream.room(),
            Some(Kind::Dgram(dgram)) => dgram.room(),
            Some(Kind::VhostUser(vhost)) => vhost.room(),
            _ => usize::MAX,
        }
    }

    /// A segment has a frame for a port.
    fn give(&mut self, number: usize, frame: &Frame<'_>) {
        let Some(port) = self.ports[number].as_ref() else { return };
        if !port.link {
            self.swallow(number, Direction::Inbound, frame);
        } else if port.chain.is_empty() {
            self.emit(number, frame);
        } else if self.pass(number, Direction::Inbound, None, frame) {
            self.emit_watched(number, frame);
        }
    }

    /// A frame has come through all filters to a port.
    fn emit(&mut self, number: usize, frame: &Frame<'_>) {
        let Some(port) = self.ports[number].as_mut() else { return };
        port.tx.count(frame.bytes.len());
        let capabilities = port.kind.capabilities();
        let drops = &mut port.drops;
        let adapted = match &mut port.kind {
            Kind::Tap(tap) => segment::adapt(frame, &capabilities, &mut self.scratch, &mut |frame| {
                tap.write(&frame).unwrap_or_else(|reason| drops.count(reason));
            }),
            Kind::Stream(stream) => segment::adapt(frame, &capabilities, &mut self.scratch, &mut |frame| {
                stream.push(&frame).unwrap_or_else(|reason| drops.count(reason));
            }),
            Kind::Dgram(dgram) => segment::adapt(frame, &capabilities, &mut self.scratch, &mut |frame| {
                dgram.push(self.now, &frame).unwrap_or_else(|reason| drops.count(reason));
            }),
            Kind::VhostUser(vhost) => segment::adapt(frame, &capabilities, &mut self.scratch, &mut |frame| {
                vhost.push(&frame).unwrap_or_else(|reason| drops.count(reason));
            }),
            Kind::User(Some(user)) => {
                user.net.input(self.now, frame, &mut user.outbox);
                Ok(1)
            }
            Kind::User(None) => Err(DropReason::NotForUs),
        };
        if let Err(reason) = adapted {
            drops.count(reason);
        }
    }
}

/// Events.
impl Plane {
    /// A port's own descriptor is ready.
    pub fn port_ready(&mut self, number: usize) {
        match self.port(number).map(|port| &port.kind) {
            Some(Kind::Tap(_)) => self.tap_ready(number),
            Some(Kind::Stream(_)) => self.stream_ready(number),
            Some(Kind::Dgram(_)) => self.dgram_ready(number),
            Some(Kind::VhostUser(_)) => self.vhost_ready(number),
            _ => {}
        }
    }

    fn tap_ready(&mut self, number: usize) {
        let mut buf = std::mem::take(&mut self.tap_buffer);
        for _ in 0..TAP_READS {
            let Some(Port { kind: Kind::Tap(tap), drops, .. }) = self.ports[number].as_mut() else { break };
            match tap.read(&mut buf) {
                Ok(tap::Read::Frame(frame)) => self.deliver(number, &frame),
                Ok(tap::Read::Bad(reason)) => drops.count(reason),
                Ok(tap::Read::Empty) => break,
                Err(error) => {
                    self.fail(number, &error);
                    break;
                }
            }
        }
        self.tap_buffer = buf;
    }

    fn fail(&mut self, number: usize, error: &io::Error) {
        if let Some(port) = self.port(number) {
            let reason = format!("the device of port '{}' failed: {error}", port.name);
            let incident = Incident::PortFailed(port.name.clone(), reason);
            self.incidents.push(incident);
            self.remove(number);
        }
    }

    /// A host socket of a flow is ready.
    pub fn flow_ready(&mut self, number: usize, token: Token, ready: Readiness) {
        let now = self.now;
        if let Some(Port { kind: Kind::User(Some(user)), .. }) = self.port(number) {
            user.net.host_event(now, token, ready, &mut user.outbox);
        }
    }

    /// A forward's socket is ready.
    pub fn forward_ready(&mut self, number: usize, slot: usize, ready: Readiness) {
        let now = self.now;
        if let Some(Port { kind: Kind::User(Some(user)), .. }) = self.port(number) {
            user.forward_ready(now, slot, ready);
        }
    }

    /// A service has answered.
    pub fn service_ready(&mut self, number: usize) {
        if let Some(Port { kind: Kind::User(Some(user)), .. }) = self.port(number) {
            user.service_ready();
        }
    }
}

/// The end of a round.
impl Plane {
    /// Let every port that works in batches finish what this round has brought.
    pub fn finish(&mut self) {
        self.release_held();
        for (number, ring) in std::mem::take(&mut self.to_poll) {
            self.take_from_ring(number, ring);
        }
        for number in 0..self.ports.len() {
            self.with_user(number, |user, plane| plane.run_user(number, user));
        }
        for number in 0..self.ports.len() {
            self.flush_stream(number);
            self.flush_dgram(number);
            self.flush_vhost(number);
        }
        self.flush_filters();
    }

    /// Is there more to do at once? Otherwise: until when to sleep.
    pub fn next_round(&self) -> (bool, Option<Time>) {
        let users = self.ports.iter().flatten().filter_map(|port| match &port.kind {
            Kind::User(Some(user)) => Some(user),
            _ => None,
        });
        let first = [self.next_retry(), self.next_release()].into_iter().flatten().min();
        users.fold((!self.to_poll.is_empty(), first), |(busy, first), user| {
            let deadline = user.net.next_deadline();
            (busy || user.busy, [first, deadline].into_iter().flatten().min())
        })
    }

    /// Call a user network out of its place, then deliver its frames.
    pub fn with_user(&mut self, number: usize, call: impl FnOnce(&mut UserPort, &mut Plane)) {
        let Some(Port { kind: Kind::User(slot), .. }) = self.ports[number].as_mut() else { return };
        let Some(mut user) = slot.take() else { return };
        call(&mut user, self);
        self.flush_user(number, &mut user);
        if let Some(Port { kind: Kind::User(slot), .. }) = self.ports[number].as_mut() {
            *slot = Some(user);
        }
    }

    fn run_user(&mut self, number: usize, user: &mut UserPort) {
        let now = self.now;
        if user.net.next_deadline().is_some_and(|at| at <= now) {
            user.net.on_time(now, &mut user.outbox);
        }
        user.net.end_batch(now, &mut user.outbox);
        for _ in 0..RUNS {
            user.busy = user.net.run(now, &mut user.outbox, &|mac| self.room(number, mac));
            self.flush_user(number, user);
            if !user.busy {
                break;
            }
        }
    }

    fn flush_user(&mut self, number: usize, user: &mut UserPort) {
        for frame in user.outbox.frames() {
            self.deliver(number, &frame);
        }
        user.outbox.clear();
        user.flush_services();
        let Some(name) = self.ports[number].as_ref().map(|port| &port.name) else { return };
        while let Some(call) = user.net.pop_call() {
            if let Some(service) = user.service_name(call.service) {
                let (port, service) = (name.clone(), service.to_owned());
                self.incidents.push(Incident::ServiceConnect { port, service, call });
            }
        }
        while let Some(pong) = user.net.pop_pong() {
            self.incidents.push(Incident::Pong(name.clone(), pong));
        }
    }

    /// A port of the hub has drained: flows that waited for it go on in the next round.
    fn unstall(&mut self, hub: Option<usize>) {
        for port in self.ports.iter_mut().flatten().filter(|port| port.hub == hub) {
            if let Kind::User(Some(user)) = &mut port.kind {
                user.net.unstall();
                user.busy = true;
            }
        }
    }
}
