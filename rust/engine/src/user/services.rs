//! Services: servers in Python that guests reach at addresses of ours.
//!
//! A datagram for a service goes to Python as it is, and what Python answers goes to the guest. A connection is more:
//! the guest gets its SYN-ACK only when the far end is there, so a SYN waits here until Python has brought a connected
//! socket ([`UserNet::service_attach`]) or said no ([`UserNet::service_refuse`]). What waits is bounded and times out.

use super::UserNet;
use super::datagram;
use super::emit::Ends;
use super::flows::Key;
use super::outbound::Packet;
use super::tcp;
use crate::host::Host;
use crate::outbox::Outbox;
use crate::table::Token;
use crate::time::Time;
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use wirebay_wire::tcp::Tcp;
use wirebay_wire::{DropReason, Mac};

/// Datagrams waiting for Python; a guest that floods loses its own.
const QUEUE: usize = 64;
/// Connections waiting for Python.
const WAITING: usize = 256;
/// How long a connection waits for Python.
const PATIENCE: Duration = Duration::from_secs(30);

/// A UDP payload on its way to or from a service.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServiceMessage {
    /// The guest's Ethernet address.
    pub mac: Mac,
    /// Where it comes from.
    pub src: SocketAddr,
    /// Where it goes.
    pub dst: SocketAddr,
    /// The payload.
    pub payload: Vec<u8>,
}

/// A guest wants to connect to a service.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Call {
    /// Names the connection until it is attached or refused.
    pub connection: u64,
    /// The service's slot.
    pub service: usize,
    /// The guest's end.
    pub client: SocketAddr,
}

/// A SYN that waits for its service.
struct Waiting {
    connection: u64,
    key: Key,
    ends: Ends,
    syn: Box<[u8]>,
    until: Time,
}

/// The services of a network and what waits for them.
#[derive(Default)]
pub struct Services {
    slots: Vec<Option<(u8, SocketAddr)>>,
    messages: VecDeque<ServiceMessage>,
    calls: VecDeque<Call>,
    waiting: VecDeque<Waiting>,
    next: u64,
}

impl Services {
    /// The slot of the service that a packet with this key is for.
    pub fn find(&self, key: &Key) -> Option<usize> {
        self.slots.iter().position(|slot| *slot == Some((key.protocol, key.our)))
    }

    /// When the oldest connection has waited too long.
    pub fn next_deadline(&self) -> Option<Time> {
        self.waiting.front().map(|waiting| waiting.until)
    }

    fn take(&mut self, connection: u64) -> Option<Waiting> {
        let at = self.waiting.iter().position(|waiting| waiting.connection == connection)?;
        self.waiting.remove(at)
    }
}

impl<H: Host> UserNet<H> {
    /// A new service for packets to `at`; its slot.
    pub fn add_service(&mut self, protocol: u8, at: SocketAddr) -> usize {
        let slots = &mut self.services.slots;
        let slot = slots.iter().position(Option::is_none).unwrap_or(slots.len());
        if slot == slots.len() {
            slots.push(None);
        }
        slots[slot] = Some((protocol, at));
        if !self.config.answers_for(at.ip()) {
            self.config.services.push(at.ip());
        }
        slot
    }

    /// The service goes away; its connections stay.
    pub fn remove_service(&mut self, slot: usize) {
        if let Some(slot) = self.services.slots.get_mut(slot) {
            *slot = None;
        }
        let slots = &self.services.slots;
        self.config.services.retain(|addr| slots.iter().flatten().any(|(_, at)| at.ip() == *addr));
    }

    pub(super) fn push_service(&mut self, ends: &Ends, payload: &[u8]) -> Result<(), DropReason> {
        if self.services.messages.len() >= QUEUE {
            return Err(DropReason::ServiceBusy);
        }
        let (mac, src, dst) = (ends.mac, ends.guest, ends.our);
        self.services.messages.push_back(ServiceMessage { mac, src, dst, payload: payload.to_vec() });
        Ok(())
    }

    /// The next datagram for a service.
    pub fn pop_service(&mut self) -> Option<ServiceMessage> {
        self.services.messages.pop_front()
    }

    /// A service's answer to a guest.
    pub fn service_reply(&mut self, message: &ServiceMessage, out: &mut Outbox) {
        let ends = Ends { our: message.src, guest: message.dst, mac: message.mac };
        if ends.our.is_ipv4() != ends.guest.is_ipv4() || self.config.plan(ends.our.ip()).is_none() {
            return self.drops.count(DropReason::UdpBadLength);
        }
        datagram::to_guest(out, &self.config, &mut self.drops, &ends, &message.payload);
    }

    /// A SYN for a service.
    pub(super) fn service_syn(
        &mut self,
        packet: &Packet<'_>,
        service: usize,
        key: Key,
        ends: Ends,
        out: &mut Outbox,
    ) -> Result<(), DropReason> {
        let services = &mut self.services;
        if services.waiting.iter().any(|waiting| waiting.key == key) {
            return Err(DropReason::TcpDuplicate);
        }
        if services.waiting.len() >= WAITING {
            return Err(DropReason::ServiceBusy);
        }
        let (connection, syn) = (services.next, packet.ip.payload.into());
        services.next += 1;
        services.waiting.push_back(Waiting { connection, key, ends, syn, until: packet.now + PATIENCE });
        services.calls.push_back(Call { connection, service, client: ends.guest });
        self.learn(packet.now, key.guest.ip(), packet.mac, out);
        Ok(())
    }

    /// The next connection that a service is to be asked for.
    pub fn pop_call(&mut self) -> Option<Call> {
        self.services.calls.pop_front()
    }

    /// Python has brought the far end of a connection; `adopt` makes the socket ours under the flow's token. False if
    /// nobody waits for it any more.
    pub fn service_attach(
        &mut self,
        now: Time,
        connection: u64,
        adopt: impl FnOnce(&mut H, Token) -> io::Result<H::Tcp>,
        out: &mut Outbox,
    ) -> bool {
        let Some(waiting) = self.services.take(connection) else { return false };
        let adopted =
            self.flows.vacancy().and_then(|token| Some((token, adopt(&mut self.host, token).ok()?)));
        match (Tcp::parse(&waiting.syn), adopted) {
            (Ok(syn), Some(adopted)) => self.tcp_begin(now, waiting.key, adopted, waiting.ends, &syn, out),
            _ => self.turn_away(&waiting, DropReason::FlowTableFull, out),
        }
        true
    }

    /// There is no far end for the connection.
    pub fn service_refuse(&mut self, connection: u64, out: &mut Outbox) -> bool {
        let waiting = self.services.take(connection);
        if let Some(waiting) = &waiting {
            self.turn_away(waiting, DropReason::HostRefused, out);
        }
        waiting.is_some()
    }

    /// Connections that have waited too long are refused.
    pub(super) fn expire_calls(&mut self, now: Time, out: &mut Outbox) {
        while self.services.next_deadline().is_some_and(|until| until <= now) {
            if let Some(waiting) = self.services.waiting.pop_front() {
                self.turn_away(&waiting, DropReason::ServiceBusy, out);
            }
        }
    }

    fn turn_away(&mut self, waiting: &Waiting, reason: DropReason, out: &mut Outbox) {
        self.drops.count(reason);
        if let Ok(syn) = Tcp::parse(&waiting.syn) {
            tcp::refuse(out, &self.config, &waiting.ends, syn.seq.wrapping_add(1));
        }
    }
}
