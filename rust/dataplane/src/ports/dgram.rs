//! A socket on which one message is one frame: UDP, raw IP, unix datagrams, unix packets in sequence.
//!
//! Theory. Frames for the peers wait in one queue of bytes, each behind the header of its tunnel, and leave at the end
//! of the round, many a system call. The queue is bounded; what does not fit is dropped. A socket that takes no more is
//! watched for room where the kernel can tell of it. It cannot for a unix socket that is not connected, because there
//! is no room only in *this* receiver's queue: then the queue is tried again after a moment that grows.
//!
//! To whom frames go is one of three cases ([`Destination`]): the peer that the socket is connected to, from which the
//! kernel also lets nothing else in; whoever spoke last, which is how VMs that bring their own socket are met; or
//! addresses. With several addresses the port is the edge of a tunnel: it learns which station is behind which of them
//! and takes frames from no other host.
//!
//! A multicast group brings our own frames back. They are told from those of others by a second socket, from which we
//! send: no other has its address and port.

use crate::ports::framing::Framing;
use crate::sys::{self, DatagramBatch, Message, Name};
use rustix::net::{AddressFamily, SocketType, sockopt};
use serde::Deserialize;
use std::cell::Cell;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;
use wirebay_engine::{Drops, Remotes, Time};
use wirebay_wire::ethernet::Ethernet;
use wirebay_wire::frame::MAX_LEN;
use wirebay_wire::{DropReason, Frame};

/// Bytes that may wait; beyond it, frames are dropped.
const QUEUE: usize = 1 << 20;
/// Batches read for one wake-up.
const READS: usize = 4;
/// The longest UDP payload over IPv4.
const MAX_UDP: usize = 65_507;
/// The least frame an Ethernet card takes; its driver may drop shorter ones as damaged.
const LEAST_FRAME: usize = 60;
/// Most addresses of one port.
const MAX_PEERS: usize = 1024;
/// How soon, and how late at most, to try again where nobody tells that there is room.
const FIRST_RETRY: Duration = Duration::from_micros(50);
const LAST_RETRY: Duration = Duration::from_millis(50);
/// What vfkit sends before its first frame, to make its address known.
const GREETING: &[u8] = b"VFKT";

/// Where frames go: `docs/protocol.md`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Destination {
    /// The peer that the socket is connected to.
    Peer,
    /// Whoever sent the last frame.
    Sender,
    /// A unix socket, by its path.
    Unix(String),
    /// Internet addresses.
    Inet(Vec<SocketAddr>),
}

/// The same, with what is known meanwhile.
enum To {
    Peer,
    Sender(Option<Name>),
    Unix(Name),
    Inet { peers: Vec<(IpAddr, Name)>, remotes: Remotes },
}

/// The sockets of a port.
struct Link {
    socket: OwnedFd,
    /// The one to send with, connected to a multicast group, and its own address.
    sender: Option<(OwnedFd, SocketAddr)>,
    to: To,
    /// The longest message.
    most: usize,
    /// Whether an empty message is the end of the connection.
    is_connection: bool,
    watched: bool,
}

/// A message that waits: where it lies in the queue, and to which of several peers it goes.
struct Entry {
    start: usize,
    end: usize,
    peer: u16,
}

#[derive(Default)]
struct Queue {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    /// How many of the entries are gone.
    sent: usize,
    /// How many messages ever were.
    sent_in_all: u64,
}

/// The port, with or without its sockets.
#[derive(Default)]
pub struct DgramPort {
    framing: Framing,
    link: Option<Box<Link>>,
    queue: Queue,
    /// Somebody asked for room and there was little: tell when the queue has drained.
    awaited: Cell<bool>,
    retry: Option<Time>,
    patience: Duration,
}

/// Why a connection has ended: one sentence.
pub type Ended = String;
/// Takes what was read: a frame, or why it is none.
pub type Sink<'a> = dyn FnMut(Result<&[u8], DropReason>) + 'a;

impl DgramPort {
    /// A port without a socket.
    pub fn new(framing: Framing) -> Self {
        DgramPort { framing, patience: FIRST_RETRY, ..DgramPort::default() }
    }

    /// Use these sockets from now on: one to receive, and another to send with if there is one.
    pub fn attach(&mut self, socket: OwnedFd, sender: Option<OwnedFd>, to: Destination) -> io::Result<()> {
        let sender = sender.map(with_address).transpose()?;
        let most = match sockopt::socket_domain(&socket)? {
            AddressFamily::UNIX => MAX_LEN + self.framing.len(),
            _ => MAX_UDP,
        };
        let is_connection = sockopt::socket_type(&socket)? == SocketType::SEQPACKET;
        self.queue = Queue::default();
        self.retry = None;
        let to = to.try_into()?;
        self.link = Some(Box::new(Link { socket, sender, to, most, is_connection, watched: false }));
        Ok(())
    }

    /// Close the sockets.
    pub fn detach(&mut self) {
        self.link = None;
        self.queue = Queue::default();
    }

    /// The socket that is watched.
    pub fn fd(&self) -> Option<&OwnedFd> {
        self.link.as_ref().map(|link| &link.socket)
    }

    /// The longest frame that fits a message.
    pub fn max_frame(&self) -> usize {
        let most = self.link.as_ref().map_or(MAX_LEN, |link| link.most);
        most.saturating_sub(self.framing.len()).min(MAX_LEN)
    }

    /// Bytes that can be queued before frames are dropped. Without a socket there is nothing to wait for.
    pub fn room(&self) -> usize {
        if self.link.is_none() {
            return usize::MAX;
        }
        let room = QUEUE.saturating_sub(self.queue.waiting());
        if room < MAX_LEN {
            self.awaited.set(true);
        }
        room
    }

    /// When to try again, if nobody will tell.
    pub fn deadline(&self) -> Option<Time> {
        self.retry
    }

    /// Queue a plain frame; [`DgramPort::flush`] sends it.
    pub fn push(&mut self, now: Time, frame: &Frame<'_>) -> Result<(), DropReason> {
        let link = self.link.as_ref().ok_or(DropReason::LinkDown)?;
        let targets = link.to.targets(now, frame)?;
        let len = self.framing.len() + frame.bytes.len().max(LEAST_FRAME);
        if self.queue.waiting() + len > QUEUE + MAX_LEN {
            return Err(DropReason::QueueFull);
        }
        let start = self.queue.bytes.len();
        self.framing.emit(&mut self.queue.bytes);
        self.queue.bytes.extend_from_slice(frame.bytes);
        self.queue.bytes.resize(start + len, 0);
        let end = start + len;
        self.queue.entries.extend(targets.map(|peer| Entry { start, end, peer }));
        Ok(())
    }

    /// Send what is queued, as far as it is taken. Whether the queue, awaited by somebody, is roomy again.
    pub fn flush(&mut self, now: Time, drops: &mut Drops) -> Result<bool, Ended> {
        let waits = self.retry.is_some_and(|at| at > now);
        let Some(link) = self.link.as_mut().filter(|_| !waits) else { return Ok(false) };
        let before = self.queue.sent_in_all;
        let stuck = self.queue.send(link, drops)?;
        if !stuck || self.queue.sent_in_all != before {
            self.patience = FIRST_RETRY;
        }
        self.retry = (stuck && !link.tells_of_room()).then_some(now + self.patience);
        self.patience = (self.patience * 2).min(LAST_RETRY);
        Ok(self.queue.waiting() <= QUEUE / 2 && self.awaited.replace(false))
    }

    /// Should the descriptor be watched for room to write, and is that news?
    pub fn watch(&mut self) -> Option<bool> {
        let link = self.link.as_mut()?;
        let want = link.tells_of_room() && !self.queue.is_empty();
        (want != std::mem::replace(&mut link.watched, want)).then_some(want)
    }

    /// Read what has come and hand each frame, or why it is none, to `sink`.
    pub fn read(&mut self, now: Time, batch: &mut DatagramBatch, sink: &mut Sink<'_>) -> Result<(), Ended> {
        for _ in 0..READS {
            let Some(link) = self.link.as_mut() else { break };
            if link.read(now, &self.framing, batch, sink)? < sys::BATCH {
                break;
            }
        }
        Ok(())
    }
}

fn with_address(sender: OwnedFd) -> io::Result<(OwnedFd, SocketAddr)> {
    let address = rustix::net::getsockname(&sender)?;
    let address = SocketAddr::try_from(address).map_err(|_| io::ErrorKind::InvalidInput)?;
    Ok((sender, address))
}

impl TryFrom<Destination> for To {
    type Error = io::Error;

    fn try_from(to: Destination) -> io::Result<To> {
        let wrong = |text: &str| io::Error::new(io::ErrorKind::InvalidInput, text);
        match to {
            Destination::Peer => Ok(To::Peer),
            Destination::Sender => Ok(To::Sender(None)),
            Destination::Unix(path) => {
                let name = Name::unix(path.as_bytes());
                name.map(To::Unix).ok_or_else(|| wrong("the path of the unix socket is too long"))
            }
            Destination::Inet(list) if list.is_empty() || list.len() > MAX_PEERS => {
                Err(wrong("a port has between 1 and 1024 peers"))
            }
            Destination::Inet(list) => {
                let peers = list.iter().map(|addr| (addr.ip(), Name::inet(addr))).collect();
                Ok(To::Inet { peers, remotes: Remotes::default() })
            }
        }
    }
}

impl To {
    /// The numbers of the peers that a frame goes to.
    fn targets(&self, now: Time, frame: &Frame<'_>) -> Result<std::ops::Range<u16>, DropReason> {
        match self {
            To::Sender(None) => Err(DropReason::PeerUnknown),
            To::Peer | To::Sender(Some(_)) | To::Unix(_) => Ok(0..1),
            To::Inet { peers, remotes } => {
                let ethernet = Ethernet::parse(frame.bytes)?;
                let one = remotes.find(now, ethernet.dst);
                Ok(one.map_or(0..peers.len() as u16, |peer| peer..peer + 1))
            }
        }
    }

    fn name(&self, peer: u16) -> Option<&Name> {
        match self {
            To::Peer => None,
            To::Sender(name) => name.as_ref(),
            To::Unix(name) => Some(name),
            To::Inet { peers, .. } => peers.get(usize::from(peer)).map(|(_, name)| name),
        }
    }

    /// Whether a message from `name` is taken; what it tells about its sender is kept.
    fn admit(&mut self, now: Time, name: &Name, frame: &[u8]) -> Result<(), DropReason> {
        match self {
            To::Peer | To::Unix(_) => Ok(()),
            To::Sender(sender) => {
                if !name.is_nobody() && (frame == GREETING || Ethernet::parse(frame).is_ok()) {
                    *sender = Some(*name);
                }
                Ok(())
            }
            To::Inet { peers, remotes } => {
                let ip = name.to_inet().map(|addr| addr.ip().to_canonical());
                let peer = peers.iter().position(|(known, _)| Some(*known) == ip);
                let peer = peer.ok_or(DropReason::PeerUnknown)?;
                remotes.learn(now, Ethernet::parse(frame)?.src, peer as u16);
                Ok(())
            }
        }
    }
}

impl Link {
    /// Does the kernel tell when there is room again? See the theory above.
    fn tells_of_room(&self) -> bool {
        self.sender.is_none() && matches!(self.to, To::Peer | To::Inet { .. })
    }

    fn read(
        &mut self,
        now: Time,
        framing: &Framing,
        batch: &mut DatagramBatch,
        sink: &mut Sink<'_>,
    ) -> Result<usize, Ended> {
        let (to, own) = (&mut self.to, self.sender.as_ref().map(|(_, own)| *own));
        let (is_connection, mut ended) = (self.is_connection, false);
        let got = batch.receive_named(self.socket.as_fd(), &mut |name, message| {
            ended |= is_connection && message.is_empty();
            if ended {
                return;
            }
            match frame_of(framing, message, own, name) {
                Ok(frame) => match to.admit(now, name, frame) {
                    Ok(()) if frame == GREETING => {}
                    Ok(()) => sink(Ok(frame)),
                    Err(reason) => sink(Err(reason)),
                },
                Err(reason) => sink(Err(reason)),
            }
        });
        match got {
            _ if ended => Err("the peer closed the connection".into()),
            Ok(got) => Ok(got),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            Err(error) if is_connection => Err(lost(&error)),
            // What the network says about frames sent earlier, and a datagram socket survives.
            Err(_) => Ok(0),
        }
    }
}

fn frame_of<'a>(
    framing: &Framing,
    message: &'a [u8],
    own: Option<SocketAddr>,
    name: &Name,
) -> Result<&'a [u8], DropReason> {
    if own.is_some() && name.to_inet() == own {
        return Err(DropReason::OwnFrame);
    }
    framing.strip(message)
}

fn lost(error: &io::Error) -> Ended {
    match error.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => "the peer closed the connection".into(),
        _ => format!("the connection to the peer failed: {error}"),
    }
}

impl Queue {
    /// Bytes that wait.
    fn waiting(&self) -> usize {
        self.entries.get(self.sent).map_or(0, |entry| self.bytes.len() - entry.start)
    }

    fn is_empty(&self) -> bool {
        self.sent == self.entries.len()
    }

    /// Send what the socket takes; true if it takes no more and something is left.
    fn send(&mut self, link: &Link, drops: &mut Drops) -> Result<bool, Ended> {
        while !self.is_empty() {
            match self.send_batch(link) {
                Ok(sent) => {
                    self.sent += sent;
                    self.sent_in_all += sent as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.compact();
                    return Ok(true);
                }
                Err(error) if link.is_connection && is_end(&error) => return Err(lost(&error)),
                Err(error) => {
                    drops.count(reason(&error));
                    self.sent += 1;
                }
            }
        }
        self.bytes.clear();
        self.entries.clear();
        self.sent = 0;
        Ok(false)
    }

    fn send_batch(&self, link: &Link) -> io::Result<usize> {
        let fd = link.sender.as_ref().map_or(&link.socket, |(sender, _)| sender);
        let mut messages: [Message<'_>; sys::BATCH] = [(&[], None); sys::BATCH];
        let entries = &self.entries[self.sent..];
        for (message, entry) in messages.iter_mut().zip(entries) {
            *message = (&self.bytes[entry.start..entry.end], link.to.name(entry.peer));
        }
        sys::send_messages(fd.as_fd(), &messages[..entries.len().min(sys::BATCH)])
    }

    /// Give back the room of what was sent.
    fn compact(&mut self) {
        let start = self.entries.get(self.sent).map_or(self.bytes.len(), |entry| entry.start);
        if start <= QUEUE / 2 {
            return;
        }
        self.bytes.drain(..start);
        self.entries.drain(..self.sent);
        self.sent = 0;
        for entry in &mut self.entries {
            entry.start -= start;
            entry.end -= start;
        }
    }
}

fn is_end(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, NotConnected};
    matches!(error.kind(), BrokenPipe | ConnectionReset | NotConnected)
}

/// Why the first message that waited did not go out.
fn reason(error: &io::Error) -> DropReason {
    match error.raw_os_error() {
        Some(libc::ECONNREFUSED | libc::ENOENT | libc::EPERM | libc::EACCES | libc::ENOTCONN) => {
            DropReason::HostRefused
        }
        Some(libc::EMSGSIZE) => DropReason::FrameTooLong,
        Some(libc::ENETUNREACH | libc::EHOSTUNREACH | libc::ENETDOWN | libc::EHOSTDOWN) => {
            DropReason::HostUnreachable
        }
        Some(libc::ENOBUFS | libc::ENOMEM) => DropReason::QueueFull,
        _ => DropReason::PortWriteFailed,
    }
}

#[cfg(test)]
#[path = "dgram_tests.rs"]
mod tests;
