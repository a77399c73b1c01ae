//! The flows as people see them: who talks with whom, how far that is, how much has passed.

use super::UserNet;
use super::datagram::{DatagramFlow, Via};
use super::flows::{Flow, Key};
use super::tcp::{State, TcpFlow, flags};
use crate::host::Host;
use crate::time::Time;
use std::net::SocketAddr;

/// Since when a flow lives, and the bytes of payload that have passed through it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tally {
    /// When it began.
    pub since: Time,
    /// Bytes that the guest has sent and the host has taken.
    pub from_guest: u64,
    /// Bytes for the guest; of TCP those that it has acknowledged.
    pub to_guest: u64,
}

impl Tally {
    /// Nothing has passed yet.
    pub fn begin(now: Time) -> Self {
        Tally { since: now, from_guest: 0, to_guest: 0 }
    }
}

/// One flow of a listing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Listed {
    /// IP protocol number.
    pub protocol: u8,
    /// How far it is; see `docs/protocol.md`.
    pub state: &'static str,
    /// The guest's end. Of echo requests the port is their identifier.
    pub guest: SocketAddr,
    /// The other end as the guest sees it; `None` for a mapping that may talk to anybody.
    pub peer: Option<SocketAddr>,
    /// Age and bytes.
    pub tally: Tally,
}

impl<H: Host> UserNet<H> {
    /// At most `limit` flows from place `from` of the table on, and the place to go on from if there are more. A flow
    /// keeps its place as long as it lives, so that one that lives all the while is listed once.
    pub fn list(&self, from: u32, limit: usize) -> (Vec<Listed>, Option<u32>) {
        let mut found = self.flows.from(from);
        let listed = found.by_ref().take(limit).map(|(_, entry)| listed(entry)).collect();
        (listed, found.next().map(|(token, _)| token.index))
    }
}

fn listed<H: Host>((key, flow): &(Key, Flow<H>)) -> Listed {
    let (state, peer, tally) = match flow {
        Flow::Tcp(flow) => (tcp_state(flow), Some(key.our), flow.tally),
        Flow::Datagram(flow) => (datagram_state(flow), datagram_peer(key, flow), flow.tally),
    };
    Listed { protocol: key.protocol, state, guest: key.guest, peer, tally }
}

fn tcp_state<S>(flow: &TcpFlow<S>) -> &'static str {
    match flow.state() {
        State::Connecting => "connecting",
        State::SynReceived => "syn-received",
        State::SynSent => "syn-sent",
        State::Open => match (flow.is(flags::GUEST_FIN), flow.is(flags::HOST_FIN)) {
            (false, false) => "open",
            (true, false) => "guest-closed",
            (false, true) => "peer-closed",
            (true, true) => "closing",
        },
    }
}

fn datagram_state<D>(flow: &DatagramFlow<D>) -> &'static str {
    match flow.via {
        Via::Cone(_) => "mapped",
        Via::Dns(..) => "dns",
        Via::Inbound { .. } => "forwarded",
        Via::Ping(_) => "echo",
    }
}

fn datagram_peer<D>(key: &Key, flow: &DatagramFlow<D>) -> Option<SocketAddr> {
    matches!(flow.via, Via::Dns(..) | Via::Inbound { .. }).then_some(key.our)
}
