//! UDP and ICMP echo flows.
//!
//! A guest's UDP port is one host socket, whatever it talks to, and any peer that learns the host's port may answer:
//! a full-cone mapping (RFC 4787: endpoint-independent mapping and filtering), as libslirp has it. Three kinds of
//! flow are not of that shape and are looked up first, by both ends: questions to the name server (whose answer must
//! seem to come from the name server), clients of a forward (answered from the forward's own socket), and echo
//! requests (one ping socket for each identifier a guest uses).

use super::emit::{self, Echo, Ends};
use super::listing::Tally;
use super::{Config, Forwards};
use crate::counters::Drops;
use crate::host::{Host, Peer, Sending};
use crate::outbox::Outbox;
use crate::time::Time;
use crate::timers::Deadline;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use wirebay_wire::DropReason;
use wirebay_wire::icmpv4::{self, Icmp};
use wirebay_wire::icmpv6::{self, Icmpv6};

/// An idle mapping lives this long, as libslirp's do ...
pub const IDLE: Duration = Duration::from_mins(4);
/// ... and a question to the name server this long.
pub const DNS_IDLE: Duration = Duration::from_secs(10);

/// What kind of flow, and its host end.
pub enum Via<D> {
    /// A guest's UDP port.
    Cone(D),
    /// A question to the name server, sent to the resolver `to`.
    Dns(D, SocketAddr),
    /// A client of the forward in slot `forward`; an unresolved guest's first datagram waits in `held`.
    Inbound {
        /// Which forward.
        forward: usize,
        /// The client.
        client: Peer,
        /// A datagram that waits for the guest's Ethernet address.
        held: Option<Box<[u8]>>,
    },
    /// Echo requests with the identifier that stands in the guest's port.
    Ping(D),
}

/// One datagram flow.
pub struct DatagramFlow<D> {
    /// The host end.
    pub via: Via<D>,
    /// The guest's end; `our` is meaningful for name service and forwards only.
    pub ends: Ends,
    /// When it expires, unless it is used.
    pub deadline: Deadline,
    /// It is in the owner's list of flows with something to read.
    pub queued: bool,
    /// Something has been reported about what it sent.
    pub failed: bool,
    /// Age and bytes, for listings.
    pub tally: Tally,
}

impl<D> DatagramFlow<D> {
    /// A new flow.
    pub fn new(via: Via<D>, ends: Ends, now: Time) -> Self {
        let (deadline, tally) = (Deadline::default(), Tally::begin(now));
        let mut flow = DatagramFlow { via, ends, deadline, queued: false, failed: false, tally };
        flow.touch(now);
        flow
    }

    /// Whether something has come back on what was sent first.
    pub fn is_answered(&self) -> bool {
        let back =
            if matches!(self.via, Via::Inbound { .. }) { self.tally.from_guest } else { self.tally.to_guest };
        back > 0
    }

    /// It was used: its time starts again.
    pub fn touch(&mut self, now: Time) {
        self.deadline.at = now + if matches!(self.via, Via::Dns(..)) { DNS_IDLE } else { IDLE };
    }

    /// Send a guest's payload out.
    pub fn send<H: Host<Datagram = D>>(
        &mut self,
        host: &mut H,
        forwards: &mut Forwards<D>,
        target: Option<SocketAddr>,
        data: &[u8],
        how: Sending,
    ) -> io::Result<()> {
        let to = |addr| Peer { addr, local: None };
        // What we send in our own name goes our own way.
        let plain = Sending { segment: how.segment, ..Sending::default() };
        let sent = match (&mut self.via, target) {
            (Via::Cone(socket) | Via::Ping(socket), Some(addr)) => {
                host.datagram_send(socket, &to(addr), data, how)
            }
            (Via::Dns(socket, resolver), _) => host.datagram_send(socket, &to(*resolver), data, plain),
            (Via::Inbound { forward, client, .. }, _) => match forwards.socket(*forward) {
                Some(socket) => host.datagram_send(socket, client, data, plain),
                None => Err(io::ErrorKind::NotConnected.into()),
            },
            (_, None) => Err(io::ErrorKind::AddrNotAvailable.into()),
        };
        self.tally.from_guest += if sent.is_ok() { data.len() as u64 } else { 0 };
        sent
    }

    /// Hand one batch of what has arrived to the guest; `Ok(true)`: there may be more.
    pub fn receive<H: Host<Datagram = D>>(
        &mut self,
        host: &mut H,
        out: &mut Outbox,
        config: &Config,
        drops: &mut Drops,
    ) -> io::Result<bool> {
        let (ends, bytes) = (self.ends, &mut self.tally.to_guest);
        match &mut self.via {
            Via::Cone(socket) => host.datagram_recv(socket, &mut |from, data| {
                *bytes += data.len() as u64;
                let our = SocketAddr::new(seen(config, &ends, from.addr.ip()), from.addr.port());
                to_guest(out, config, drops, &Ends { our, ..ends }, data);
            }),
            Via::Dns(socket, resolver) => host.datagram_recv(socket, &mut |from, data| {
                // The guest will believe that the name server says this: nobody else may.
                if (from.addr.ip(), from.addr.port()) == (resolver.ip(), resolver.port()) {
                    *bytes += data.len() as u64;
                    to_guest(out, config, drops, &ends, data);
                } else {
                    drops.count(DropReason::NotForUs);
                }
            }),
            Via::Ping(socket) => host.datagram_recv(socket, &mut |from, data| {
                *bytes += data.len() as u64;
                let our = SocketAddr::new(seen(config, &ends, from.addr.ip()), 0);
                echo_to_guest(out, config, drops, &Ends { our, ..ends }, data);
            }),
            Via::Inbound { .. } => Ok(false),
        }
    }
}

/// Send a datagram to the guest.
pub fn to_guest(out: &mut Outbox, config: &Config, drops: &mut Drops, ends: &Ends, data: &[u8]) {
    if let Err(reason) = emit::udp(out, config, ends, data) {
        drops.count(reason);
    }
}

/// How the guest sees who sends to its flow: a host that it knows by two addresses answers from the one it asked.
pub fn seen(config: &Config, ends: &Ends, from: IpAddr) -> IpAddr {
    let seen = config.seen_from_guest(from, ends.guest.ip());
    if config.is_host(seen) && config.is_host(ends.our.ip()) { ends.our.ip() } else { seen }
}

/// A ping socket's answer is an ICMP message with the kernel's identifier; the guest gets its own back.
fn echo_to_guest(out: &mut Outbox, config: &Config, drops: &mut Drops, ends: &Ends, data: &[u8]) {
    let sent = echo_reply(ends.guest.ip(), data).and_then(|(seq, payload)| {
        emit::echo(out, config, ends, &Echo { reply: true, ident: ends.guest.port(), seq, payload })
    });
    if let Err(reason) = sent {
        drops.count(reason);
    }
}

/// Sequence number and data, if the message is an echo reply.
fn echo_reply(guest: IpAddr, message: &[u8]) -> Result<(u16, &[u8]), DropReason> {
    let (is_reply, seq, payload) = if guest.is_ipv4() {
        let icmp = Icmp::parse(message).map_err(|_| DropReason::IcmpTruncated)?;
        (icmp.kind == icmpv4::kind::ECHO_REPLY, icmp.seq, icmp.payload)
    } else {
        // The kernel has checked the sum, and only it knows the address the message came to.
        let icmp = Icmpv6::parse_unchecked(message)?;
        (icmp.kind == icmpv6::kind::ECHO_REPLY, icmp.seq, icmp.payload)
    };
    if is_reply { Ok((seq, payload)) } else { Err(DropReason::UnknownService) }
}
