//! The host side of a flow, as the translation sees it.
//!
//! A stream's bytes stay in the host kernel's receive queue until the guest has acknowledged them: the translation
//! *peeks* at an offset, sends what it saw, and *consumes* on acknowledgement. A retransmission is a second peek.

use crate::report::Report;
use crate::table::Token;
use std::io;
use std::net::{IpAddr, SocketAddr};

/// What the host's event loop says about a socket.
#[allow(clippy::struct_excessive_bools)] // four independent bits of one epoll word
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Readiness {
    /// Bytes or an end of stream can be read.
    pub readable: bool,
    /// The send queue has room again, or a connect has ended.
    pub writable: bool,
    /// The peer has shut its sending side down: a short read is not the end of what can be read.
    pub read_closed: bool,
    /// The socket failed; the next call tells why.
    pub error: bool,
}

/// Which datagram socket to open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DatagramKind {
    /// UDP over IPv4.
    Udp4,
    /// UDP over IPv6.
    Udp6,
    /// ICMP echo: payloads are ICMP messages, the kernel owns the identifier (an unprivileged "ping socket").
    Ping4,
    /// The same over IPv6; the kernel computes the checksum.
    Ping6,
}

/// The other end of a datagram, and our own address that it was sent to where the socket tells.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Peer {
    /// Who sent it, or whom to send it to.
    pub addr: SocketAddr,
    /// The local address it came to; an answer leaves from there.
    pub local: Option<IpAddr>,
}

/// How a datagram is to travel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sending {
    /// It is a train of datagrams of that many bytes each; the last may be shorter.
    pub segment: Option<u16>,
    /// Over how many hops at most.
    pub hops: u8,
    /// Whether it must not be fragmented; if it is too big then, sending fails or an error comes back.
    pub dont_fragment: bool,
}

impl Default for Sending {
    fn default() -> Self {
        Sending { segment: None, hops: HOPS, dont_fragment: false }
    }
}

/// How many hops a packet may take unless somebody says otherwise.
pub const HOPS: u8 = 64;

/// What the network has reported about a datagram that was sent, or the kernel about one that could not be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HostError<'a> {
    /// What.
    pub report: Report,
    /// Who; the kernel itself has no name.
    pub offender: Option<IpAddr>,
    /// Where the datagram went; the port is 0 where there is none or the kernel does not tell.
    pub to: SocketAddr,
    /// What is left of the datagram's payload: of an echo request, the whole message.
    pub payload: &'a [u8],
}

/// The host's sockets. Every call returns at once; `WouldBlock` means "later, there will be an event".
pub trait Host {
    /// A TCP socket.
    type Tcp;
    /// A datagram socket.
    type Datagram;

    /// Start to connect; events for it carry `token`. With `hops` no further than that, and [`Host::tcp_report`] tells
    /// who stopped it.
    fn tcp_connect(&mut self, token: Token, to: SocketAddr, hops: Option<u8>) -> io::Result<Self::Tcp>;
    /// Why a connect with `hops` failed, and who said so.
    fn tcp_report(&mut self, socket: &mut Self::Tcp) -> Option<(Report, Option<IpAddr>)>;
    /// Has the connect ended well? `Ok(false)`: not yet.
    fn tcp_connected(&mut self, socket: &mut Self::Tcp) -> io::Result<bool>;
    /// Read without consuming, starting `offset` bytes into the queue. `Ok(0)`: the stream ends there.
    fn tcp_peek(&mut self, socket: &mut Self::Tcp, offset: usize, buf: &mut [u8]) -> io::Result<usize>;
    /// Take `len` bytes off the head of the queue; they were peeked before.
    fn tcp_consume(&mut self, socket: &mut Self::Tcp, len: usize) -> io::Result<()>;
    /// Send; how many bytes the kernel took.
    fn tcp_send(&mut self, socket: &mut Self::Tcp, data: &[u8]) -> io::Result<usize>;
    /// Bytes the send queue still has room for, roughly.
    fn tcp_room(&mut self, socket: &mut Self::Tcp) -> usize;
    /// Send FIN after what was sent.
    fn tcp_shutdown(&mut self, socket: &mut Self::Tcp);
    /// Close with RST instead of FIN.
    fn tcp_abort(&mut self, socket: Self::Tcp);

    /// Open a datagram socket; events for it carry `token`.
    fn datagram_open(&mut self, token: Token, kind: DatagramKind) -> io::Result<Self::Datagram>;
    /// Send one datagram, or a train of them.
    fn datagram_send(
        &mut self,
        socket: &mut Self::Datagram,
        to: &Peer,
        data: &[u8],
        how: Sending,
    ) -> io::Result<()>;
    /// The batch ends: what [`Host::datagram_send`] has kept back to send it together goes out now.
    fn datagram_flush(&mut self) -> io::Result<()> {
        Ok(())
    }
    /// Hand over what has arrived, at most one batch; `Ok(true)`: there may be more.
    fn datagram_recv(
        &mut self,
        socket: &mut Self::Datagram,
        sink: &mut dyn FnMut(&Peer, &[u8]),
    ) -> io::Result<bool>;
    /// Hand over what has been reported about datagrams, at most one batch; `Ok(true)`: there may be more.
    fn datagram_errors(
        &mut self,
        socket: &mut Self::Datagram,
        sink: &mut dyn FnMut(&HostError<'_>),
    ) -> io::Result<bool>;
}
