//! The state of the sockets of [`FakeHost`](super::fake_host::FakeHost), and what their peers did to them.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use wirebay_engine::{DatagramKind, HostError, Peer, Readiness, Report, Sending, Token};

/// Numbers of errors as Linux has them.
pub mod errno {
    pub const EPERM: i32 = 1;
    pub const EACCES: i32 = 13;
    pub const EMFILE: i32 = 24;
    pub const EMSGSIZE: i32 = 90;
    pub const EPIPE: i32 = 32;
    pub const ECONNRESET: i32 = 104;
    pub const ECONNREFUSED: i32 = 111;
    pub const EHOSTUNREACH: i32 = 113;
}

/// How far a connection has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    Connecting,
    Connected,
    /// It failed, and every call says so from now on.
    Failed(i32),
}

/// What the network has done with its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    Held,
    Closed,
    Aborted,
}

/// One TCP socket of the host and the peer at its other end.
#[allow(clippy::struct_excessive_bools)] // independent facts, each asked for by some test
pub struct Conn {
    pub token: Token,
    pub to: SocketAddr,
    pub stage: Stage,
    pub fate: Fate,
    /// The network has ended its stream.
    pub shut: bool,
    /// What the peer has read.
    pub received: Vec<u8>,
    /// Bytes the send queue holds; without a limit the peer reads everything at once.
    pub send_limit: Option<usize>,
    /// What the network was last told about the room in the send queue.
    pub told_room: usize,
    /// How often the network has asked whether the connect has ended.
    pub asked: usize,
    pub(super) notified: bool,
    /// How far it may go.
    pub hops: Option<u8>,
    /// Who has said what about the connect.
    pub reported: Option<(Report, Option<IpAddr>)>,
    wants_room: bool,
    unread: VecDeque<u8>,
    inbox: VecDeque<u8>,
    ended: bool,
    peeked: usize,
}

impl Conn {
    pub fn new(token: Token, to: SocketAddr, stage: Stage, send_limit: Option<usize>) -> Self {
        Conn {
            token,
            to,
            stage,
            fate: Fate::Held,
            shut: false,
            received: Vec::new(),
            send_limit,
            told_room: 0,
            asked: 0,
            notified: false,
            hops: None,
            reported: None,
            wants_room: false,
            unread: VecDeque::new(),
            inbox: VecDeque::new(),
            ended: false,
            peeked: 0,
        }
    }

    /// What an event reports: everything that is so now, as epoll does.
    pub fn readiness(&self) -> Readiness {
        let failed = matches!(self.stage, Stage::Failed(_));
        let connected = self.stage == Stage::Connected;
        Readiness {
            readable: failed || connected && (self.ended || !self.inbox.is_empty()),
            writable: failed || connected && self.is_writable(),
            read_closed: failed || self.ended,
            error: failed,
        }
    }

    fn is_writable(&self) -> bool {
        self.send_limit.is_none_or(|limit| self.unread.len() <= limit / 3 * 2)
    }

    fn usable(&self) -> io::Result<()> {
        match self.stage {
            Stage::Connected => Ok(()),
            Stage::Connecting => Err(io::ErrorKind::NotConnected.into()),
            Stage::Failed(errno) => Err(io::Error::from_raw_os_error(errno)),
        }
    }

    pub fn connected(&self) -> io::Result<bool> {
        if self.stage == Stage::Connecting {
            return Ok(false);
        }
        self.usable().map(|()| true)
    }

    pub fn peek(&mut self, offset: usize, buf: &mut [u8]) -> io::Result<usize> {
        self.usable()?;
        assert!(offset <= self.inbox.len(), "a peek behind the end of the queue");
        let len = buf.len().min(self.inbox.len() - offset);
        if len == 0 {
            return if self.ended { Ok(0) } else { Err(io::ErrorKind::WouldBlock.into()) };
        }
        for (to, from) in buf.iter_mut().zip(self.inbox.range(offset..offset + len)) {
            *to = *from;
        }
        self.peeked = self.peeked.max(offset + len);
        Ok(len)
    }

    pub fn consume(&mut self, len: usize) -> io::Result<()> {
        self.usable()?;
        assert!(len <= self.peeked, "bytes were consumed that nobody has seen");
        self.peeked -= len;
        self.inbox.drain(..len);
        Ok(())
    }

    pub fn send(&mut self, data: &[u8]) -> io::Result<usize> {
        self.usable()?;
        assert!(!self.shut, "data after the end of the stream");
        let Some(limit) = self.send_limit else {
            self.received.extend(data);
            return Ok(data.len());
        };
        let len = data.len().min(limit - self.unread.len());
        self.wants_room |= len < data.len();
        self.unread.extend(&data[..len]);
        if len == 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(len) }
    }

    pub fn room(&mut self) -> usize {
        self.told_room = self.send_limit.map_or(4 << 20, |limit| limit - self.unread.len());
        self.told_room
    }

    /// Bytes the socket has taken from the network, whether the peer has read them or not.
    pub fn taken(&self) -> usize {
        self.received.len() + self.unread.len()
    }

    /// Bytes the peer has sent that the network has not consumed.
    pub fn queued(&self) -> usize {
        self.inbox.len()
    }

    /// The peer reads; true if the network waits for that.
    pub fn peer_reads(&mut self, most: usize) -> bool {
        let len = most.min(self.unread.len());
        self.received.extend(self.unread.drain(..len));
        let woken = self.wants_room && self.is_writable();
        self.wants_room &= !woken;
        woken
    }

    pub fn peer_sends(&mut self, data: &[u8]) {
        assert!(!self.ended, "the test's peer has ended its stream");
        self.inbox.extend(data);
    }

    pub fn peer_ends(&mut self) {
        self.ended = true;
    }
}

/// A datagram that the network has sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sent {
    pub to: Peer,
    pub data: Vec<u8>,
    pub how: Sending,
}

/// Where the events of a datagram socket go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Owner {
    Flow(Token),
    Forward(usize),
}

/// One datagram socket of the host.
pub struct Datagram {
    pub owner: Owner,
    pub kind: DatagramKind,
    pub open: bool,
    pub sent: Vec<Sent>,
    pub(super) notified: bool,
    inbox: VecDeque<(Peer, Vec<u8>)>,
    errors: VecDeque<Reported>,
}

/// What the network behind the host has reported about a datagram.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reported {
    pub report: Report,
    pub offender: Option<IpAddr>,
    pub to: SocketAddr,
    pub payload: Vec<u8>,
}

impl Datagram {
    /// As many as one call hands over.
    const BATCH: usize = 3;

    pub fn new(owner: Owner, kind: DatagramKind) -> Self {
        let (inbox, errors) = (VecDeque::new(), VecDeque::new());
        Datagram { owner, kind, open: true, sent: Vec::new(), notified: false, inbox, errors }
    }

    /// What an event reports.
    pub fn readiness(&self) -> Readiness {
        let (readable, error) = (!self.inbox.is_empty(), !self.errors.is_empty());
        Readiness { readable, error, ..Readiness::default() }
    }

    pub fn fails(&mut self, error: Reported) {
        self.errors.push_back(error);
    }

    pub fn take_errors(&mut self, sink: &mut dyn FnMut(&HostError<'_>)) -> bool {
        let count = self.errors.len().min(Self::BATCH);
        for Reported { report, offender, to, payload } in self.errors.drain(..count) {
            sink(&HostError { report, offender, to, payload: &payload });
        }
        count == Self::BATCH
    }

    pub fn arrives(&mut self, from: Peer, data: &[u8]) {
        self.inbox.push_back((from, data.to_vec()));
    }

    pub fn receive(&mut self, sink: &mut dyn FnMut(&Peer, &[u8])) -> io::Result<bool> {
        if self.inbox.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let count = self.inbox.len().min(Self::BATCH);
        for (from, data) in self.inbox.drain(..count) {
            sink(&from, &data);
        }
        Ok(count == Self::BATCH)
    }
}
