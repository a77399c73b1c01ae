//! The host's sockets, for real.

use crate::poll::{self, Registrar, Source};
use crate::sys::{self, DatagramBatch};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, Shutdown, SocketFlags, SocketType, ipproto, sockopt};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;
use wirebay_engine::{DatagramKind, Host, Peer, Token};

/// A TCP socket and where its next peek starts, as the kernel has it (`None`: never set, peeks start at the head).
pub struct TcpSocket {
    fd: OwnedFd,
    peek_at: Option<usize>,
    /// Whether a connect may have ended before there was an event.
    at_once: bool,
}

/// The sockets of one user network.
pub struct RealHost {
    port: usize,
    registrar: Registrar,
    batch: DatagramBatch,
    /// Bytes peeked only to get past them, on kernels without `SO_PEEK_OFF` for TCP.
    waste: Option<Vec<u8>>,
}

/// The furthest a peek without `SO_PEEK_OFF` can reach: then the guest's acknowledgements are awaited.
const WASTE: usize = 4 << 20;

impl RealHost {
    /// For the user network on port number `port`.
    pub fn new(port: usize, registrar: Registrar) -> Self {
        let waste = if has_peek_offset() { None } else { Some(vec![0; WASTE]) };
        RealHost { port, registrar, batch: DatagramBatch::default(), waste }
    }

    /// Take over a connection that a forward has accepted.
    pub fn adopt(&mut self, token: Token, fd: OwnedFd) -> io::Result<TcpSocket> {
        tune(&fd)?;
        self.registrar.add(&fd, Source::Flow(self.port, token), poll::EDGE)?;
        Ok(TcpSocket { fd, peek_at: None, at_once: false })
    }
}

/// Does this kernel have `SO_PEEK_OFF` for TCP over IPv4 (6.9 and later)?
fn has_peek_offset() -> bool {
    let family = AddressFamily::INET;
    rustix::net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)
        .is_ok_and(|fd| sys::set_peek_offset(fd.as_fd(), 0).is_ok())
}

/// The guest's TCP decides when to send small segments, so the host's must not hold them back; and a host peer that has
/// gone must be noticed.
fn tune(fd: &OwnedFd) -> io::Result<()> {
    sockopt::set_tcp_nodelay(fd, true)?;
    Ok(sockopt::set_socket_keepalive(fd, true)?)
}

fn family(addr: &SocketAddr) -> AddressFamily {
    if addr.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 }
}

const FLAGS: SocketFlags = SocketFlags::NONBLOCK.union(SocketFlags::CLOEXEC);

impl Host for RealHost {
    type Tcp = TcpSocket;
    type Datagram = OwnedFd;

    fn tcp_connect(&mut self, token: Token, to: SocketAddr) -> io::Result<TcpSocket> {
        let fd = rustix::net::socket_with(family(&to), SocketType::STREAM, FLAGS, None)?;
        tune(&fd)?;
        match rustix::net::connect(&fd, &to) {
            Ok(()) | Err(rustix::io::Errno::INPROGRESS) => {}
            Err(error) => return Err(error.into()),
        }
        self.registrar.add(&fd, Source::Flow(self.port, token), poll::EDGE)?;
        Ok(TcpSocket { fd, peek_at: None, at_once: to.ip().is_loopback() })
    }

    fn tcp_connected(&mut self, socket: &mut TcpSocket) -> io::Result<bool> {
        sockopt::socket_error(&socket.fd)??;
        // A connect over the network cannot have ended yet: do not ask before the first event.
        if !std::mem::replace(&mut socket.at_once, true) {
            return Ok(false);
        }
        match rustix::net::getpeername(&socket.fd) {
            Ok(_) => Ok(true),
            Err(rustix::io::Errno::NOTCONN) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn tcp_peek(&mut self, socket: &mut TcpSocket, offset: usize, buf: &mut [u8]) -> io::Result<usize> {
        if let Some(waste) = &mut self.waste
            && offset > 0
        {
            let waste = waste.get_mut(..offset).ok_or(io::ErrorKind::WouldBlock)?;
            return sys::peek_after(socket.fd.as_fd(), waste, buf);
        }
        if socket.peek_at.unwrap_or(0) != offset || (socket.peek_at.is_none() && offset > 0) {
            sys::set_peek_offset(socket.fd.as_fd(), offset as u32)?;
            socket.peek_at = Some(offset);
        }
        let (len, _) = rustix::net::recv(&socket.fd, buf, RecvFlags::PEEK)?;
        if let Some(at) = &mut socket.peek_at {
            *at += len;
        }
        Ok(len)
    }

    fn tcp_consume(&mut self, socket: &mut TcpSocket, len: usize) -> io::Result<()> {
        let mut left = len;
        while left > 0 {
            match sys::discard(socket.fd.as_fd(), left)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                taken => left -= taken,
            }
        }
        if let Some(at) = &mut socket.peek_at {
            *at = at.saturating_sub(len);
        }
        Ok(())
    }

    fn tcp_send(&mut self, socket: &mut TcpSocket, data: &[u8]) -> io::Result<usize> {
        Ok(rustix::net::send(&socket.fd, data, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)?)
    }

    fn tcp_room(&mut self, socket: &mut TcpSocket) -> usize {
        sys::send_room(socket.fd.as_fd()).unwrap_or(0)
    }

    fn tcp_shutdown(&mut self, socket: &mut TcpSocket) {
        let _ = rustix::net::shutdown(&socket.fd, Shutdown::Write);
    }

    fn tcp_abort(&mut self, socket: TcpSocket) {
        let _ = sockopt::set_socket_linger(&socket.fd, Some(Duration::ZERO));
    }

    fn datagram_open(&mut self, token: Token, kind: DatagramKind) -> io::Result<OwnedFd> {
        let (family, protocol) = match kind {
            DatagramKind::Udp4 => (AddressFamily::INET, None),
            DatagramKind::Udp6 => (AddressFamily::INET6, None),
            DatagramKind::Ping4 => (AddressFamily::INET, Some(ipproto::ICMP)),
        };
        let fd = rustix::net::socket_with(family, SocketType::DGRAM, FLAGS, protocol)?;
        self.registrar.add(&fd, Source::Flow(self.port, token), poll::EDGE)?;
        Ok(fd)
    }

    fn datagram_send(
        &mut self,
        socket: &mut OwnedFd,
        to: &Peer,
        data: &[u8],
        segment: Option<u16>,
    ) -> io::Result<()> {
        let Some(size) = segment else { return sys::send_datagram(socket.as_fd(), to, data, None) };
        match sys::send_datagram(socket.as_fd(), to, data, segment) {
            // A train too long for the kernel, or one the route cannot take: send the cars.
            Err(e) if matches!(e.raw_os_error(), Some(libc::EINVAL | libc::EIO | libc::EMSGSIZE)) => {
                data.chunks(size.into()).try_for_each(|car| sys::send_datagram(socket.as_fd(), to, car, None))
            }
            sent => sent,
        }
    }

    fn datagram_recv(
        &mut self,
        socket: &mut OwnedFd,
        sink: &mut dyn FnMut(&Peer, &[u8]),
    ) -> io::Result<bool> {
        Ok(self.batch.receive(socket.as_fd(), sink)? == sys::BATCH)
    }
}
