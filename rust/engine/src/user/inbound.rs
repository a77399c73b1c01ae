//! What comes in from the host without a guest having asked: forwards, and answers of services.

use super::UserNet;
use super::datagram::{self, DatagramFlow, Via};
use super::emit::{self, Ends};
use super::flows::{Flow, Key};
use super::forwards::Forward;
use super::tcp::{TcpFlow, Verdict};
use crate::host::{Host, Peer};
use crate::outbox::Outbox;
use crate::table::Token;
use crate::time::Time;
use std::io;
use std::net::{IpAddr, SocketAddr};
use wirebay_wire::ipv4::protocol;
use wirebay_wire::{DropReason, Mac};

/// How many other ports are tried when a client's own is taken by another client of the same address.
const PORT_TRIES: u16 = 64;

impl<H: Host> UserNet<H> {
    /// The slot the next forward gets.
    pub fn forward_vacancy(&self) -> usize {
        self.forwards.vacancy()
    }

    /// A new forward to `guest`: TCP without a socket, UDP with its bound one. Its slot.
    pub fn add_forward(&mut self, guest: SocketAddr, socket: Option<H::Datagram>) -> usize {
        self.forwards.add(Forward { guest, socket })
    }

    /// The forward goes away: its UDP flows with it, its TCP connections stay.
    pub fn remove_forward(&mut self, slot: usize) {
        self.forwards.remove(slot);
        for token in self.flows.tokens() {
            if let Some(Flow::Datagram(flow)) = self.flows.get(token)
                && matches!(flow.via, Via::Inbound { forward, .. } if forward == slot)
            {
                self.flows.remove(token);
            }
        }
    }

    /// The TCP forward in `slot` has accepted `client`; `adopt` makes the socket ours under the flow's token.
    pub fn accept(
        &mut self,
        now: Time,
        slot: usize,
        client: SocketAddr,
        adopt: impl FnOnce(&mut H, Token) -> io::Result<H::Tcp>,
        out: &mut Outbox,
    ) {
        match self.forwards.get(slot).map(|forward| forward.guest) {
            Some(guest) => self.bring(now, guest, client, adopt, out),
            None => self.drops.count(DropReason::UnknownService),
        }
    }

    /// Bring a connection of `client` to a guest.
    pub fn bring(
        &mut self,
        now: Time,
        guest: SocketAddr,
        client: SocketAddr,
        adopt: impl FnOnce(&mut H, Token) -> io::Result<H::Tcp>,
        out: &mut Outbox,
    ) {
        if let Err(reason) = self.try_bring(now, guest, client, adopt, out) {
            self.drops.count(reason);
        }
    }

    fn try_bring(
        &mut self,
        now: Time,
        guest: SocketAddr,
        client: SocketAddr,
        adopt: impl FnOnce(&mut H, Token) -> io::Result<H::Tcp>,
        out: &mut Outbox,
    ) -> Result<(), DropReason> {
        self.config.plan(guest.ip()).ok_or(DropReason::HostUnreachable)?;
        let key = self.inbound_key(protocol::TCP, guest, client).ok_or(DropReason::FlowTableFull)?;
        let token = self.flows.vacancy().ok_or(DropReason::FlowTableFull)?;
        let socket = adopt(&mut self.host, token).map_err(|_| DropReason::DescriptorsExhausted)?;
        let ends = self.inbound_ends(&key);
        let iss = self.initial_sequence(&key, now);
        let flow = TcpFlow::from_host(socket, ends, iss, now);
        let unresolved = flow.unresolved();
        self.flows.insert(key, Flow::Tcp(flow));
        if unresolved {
            self.wait_for_neighbor(token);
        }
        self.with_tcp(now, token, out, |flow, cx| {
            flow.call_guest(cx);
            Verdict::Keep
        });
        Ok(())
    }

    /// How the guest sees the client: its real address and port, or another port where two clients would be one.
    fn inbound_key(&self, protocol: u8, guest: SocketAddr, client: SocketAddr) -> Option<Key> {
        let ip = self.config.seen_from_guest(client.ip(), guest.ip());
        (0..PORT_TRIES).find_map(|i| {
            let port = client.port().wrapping_add(i).max(1);
            let key = Key { protocol, guest, our: SocketAddr::new(ip, port) };
            self.flows.find(&key).is_none().then_some(key)
        })
    }

    fn inbound_ends(&self, key: &Key) -> Ends {
        let mac = self.neighbors.find(key.guest.ip()).unwrap_or(Mac([0; 6]));
        Ends { our: key.our, guest: key.guest, mac }
    }

    /// A UDP forward's socket has something. `Ok(true)`: there may be more.
    pub fn receive_forward(&mut self, now: Time, slot: usize, out: &mut Outbox) -> io::Result<bool> {
        let Some(forward) = self.forwards.take_socket(slot) else { return Ok(false) };
        let (guest, mut socket) = forward;
        let mut arrived = Vec::new();
        let more =
            self.host.datagram_recv(&mut socket, &mut |peer, data| arrived.push((*peer, data.to_vec())));
        self.forwards.put_socket(slot, socket);
        for (peer, data) in arrived {
            if let Err(reason) = self.forward_datagram(now, slot, guest, peer, &data, out) {
                self.drops.count(reason);
            }
        }
        more
    }

    fn forward_datagram(
        &mut self,
        now: Time,
        slot: usize,
        guest: SocketAddr,
        client: Peer,
        data: &[u8],
        out: &mut Outbox,
    ) -> Result<(), DropReason> {
        let token = match self.inbound_flow(slot, guest, client.addr, |known| *known == client) {
            Some(token) => token,
            None => self.new_inbound_flow(now, slot, guest, client)?,
        };
        let (config, drops, neighbors) = (&self.config, &mut self.drops, &self.neighbors);
        let mut waits = false;
        let Some(Flow::Datagram(flow)) = self.flows.get(token) else { return Ok(()) };
        flow.touch(now);
        flow.tally.to_guest += data.len() as u64;
        if let Some(mac) = neighbors.find(guest.ip()) {
            flow.ends.mac = mac;
            datagram::to_guest(out, config, drops, &flow.ends, data);
        } else if let Via::Inbound { held, .. } = &mut flow.via {
            if held.replace(data.into()).is_some() {
                drops.count(DropReason::NoNeighbor);
            } else {
                waits = true;
            }
            emit::who_has(out, config, guest.ip());
        }
        self.flows.arm(token);
        if waits {
            self.wait_for_neighbor(token);
        }
        Ok(())
    }

    /// The flow goes on when its guest's Ethernet address is known. A guest that never answers must not make the list
    /// grow for ever: flows that have been given up leave it when they outnumber those that live.
    fn wait_for_neighbor(&mut self, token: Token) {
        let census = self.flows.census();
        if self.unresolved.len() > 2 * (census.tcp + census.udp) {
            self.unresolved.retain(|&waiting| self.flows.get(waiting).is_some());
        }
        self.unresolved.push(token);
    }

    /// The flow of a client at `addr` that has been here before, at the same forward; `is_it` tells it from others whose
    /// flows may look alike.
    pub(super) fn inbound_flow(
        &mut self,
        slot: usize,
        guest: SocketAddr,
        addr: SocketAddr,
        is_it: impl Fn(&Peer) -> bool,
    ) -> Option<Token> {
        let ip = self.config.seen_from_guest(addr.ip(), guest.ip());
        (0..PORT_TRIES).find_map(|i| {
            let port = addr.port().wrapping_add(i).max(1);
            let key = Key { protocol: protocol::UDP, guest, our: SocketAddr::new(ip, port) };
            let token = self.flows.find(&key)?;
            let Some(Flow::Datagram(flow)) = self.flows.get(token) else { return None };
            let same = matches!(&flow.via, Via::Inbound { forward, client, .. } if *forward == slot && is_it(client));
            same.then_some(token)
        })
    }

    fn new_inbound_flow(
        &mut self,
        now: Time,
        slot: usize,
        guest: SocketAddr,
        client: Peer,
    ) -> Result<Token, DropReason> {
        let key = self.inbound_key(protocol::UDP, guest, client.addr).ok_or(DropReason::FlowTableFull)?;
        let via = Via::Inbound { forward: slot, client, held: None };
        let flow = DatagramFlow::new(via, self.inbound_ends(&key), now);
        let token = self.flows.insert(key, Flow::Datagram(flow)).ok_or(DropReason::FlowTableFull)?;
        self.datagrams_begin(token);
        Ok(token)
    }

    /// A guest's Ethernet address has become known: whoever waited for it goes on.
    pub(super) fn resolved(&mut self, now: Time, ip: IpAddr, mac: Mac, out: &mut Outbox) {
        self.ping_resolved(ip, out);
        let waiting = std::mem::take(&mut self.unresolved);
        for token in waiting {
            match self.flows.get(token) {
                Some(Flow::Tcp(flow)) if flow.ends.guest.ip() == ip => {
                    self.with_tcp(now, token, out, |flow, cx| {
                        flow.resolve(cx, mac);
                        Verdict::Keep
                    });
                }
                Some(Flow::Datagram(flow)) if flow.ends.guest.ip() == ip => {
                    flow.ends.mac = mac;
                    if let Via::Inbound { held, .. } = &mut flow.via
                        && let Some(data) = held.take()
                    {
                        let ends = flow.ends;
                        datagram::to_guest(out, &self.config, &mut self.drops, &ends, &data);
                    }
                }
                Some(_) => self.unresolved.push(token),
                None => {}
            }
        }
    }

    pub(super) fn receive_datagrams(&mut self, now: Time, token: Token, out: &mut Outbox) {
        let Some(Flow::Datagram(flow)) = self.flows.get(token) else { return };
        flow.queued = false;
        let failed = std::mem::take(&mut flow.failed);
        if failed {
            self.datagram_errors(token, out);
        }
        let Some(Flow::Datagram(flow)) = self.flows.get(token) else { return };
        let more = flow.receive(&mut self.host, out, &self.config, &mut self.drops);
        flow.touch(now);
        if matches!(more, Ok(true)) && !std::mem::replace(&mut flow.queued, true) {
            self.to_run.push_back(token);
        }
        if matches!(&more, Err(e) if e.kind() != io::ErrorKind::WouldBlock) {
            self.drops.count(DropReason::HostRefused);
        }
        self.flows.arm(token);
    }
}
