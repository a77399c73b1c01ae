//! The host's sockets, for real.

use crate::datagram::{DatagramSocket, Trains};
use crate::poll::{self, Registrar, Source};
use crate::sys::errors::{self, QueuedError};
use crate::sys::{self, DatagramBatch};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, Shutdown, SocketFlags, SocketType, ipproto, sockopt};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;
use wirebay_engine::{DatagramKind, Host, HostError, Peer, Report, Sending, Token};

/// A stream socket: TCP, or a unix socket where a service or a forward has one.
pub struct TcpSocket {
    fd: OwnedFd,
    /// Where its next peek starts, as the kernel has it (`None`: never set, peeks start at the head).
    peek_at: Option<usize>,
    /// Whether a connect may have ended before there was an event.
    at_once: bool,
    family: AddressFamily,
    /// Errors are collected with who reported them, until it is connected.
    reports: bool,
}

/// The sockets of one user network.
pub struct RealHost {
    port: usize,
    registrar: Registrar,
    batch: DatagramBatch,
    trains: Trains,
    /// Families whose stream sockets lack `SO_PEEK_OFF`: IPv4 and IPv6 got it in different kernels, from 6.9 on.
    without_offset: Vec<AddressFamily>,
    /// Bytes read only to get past them: peeks of those families, and what is consumed of unix sockets.
    waste: Vec<u8>,
}

/// The furthest a peek without `SO_PEEK_OFF` can reach: then the guest's acknowledgements are awaited.
const WASTE: usize = 4 << 20;

impl RealHost {
    /// For the user network on port number `port`.
    pub fn new(port: usize, registrar: Registrar) -> Self {
        let without_offset = [AddressFamily::INET, AddressFamily::INET6, AddressFamily::UNIX]
            .into_iter()
            .filter(|&family| !has_peek_offset(family))
            .collect();
        let (batch, trains, waste) = (DatagramBatch::default(), Trains::default(), Vec::new());
        RealHost { port, registrar, batch, trains, without_offset, waste }
    }

    /// Take over a connected socket.
    pub fn adopt(&mut self, token: Token, fd: OwnedFd) -> io::Result<TcpSocket> {
        let family = sockopt::socket_domain(&fd)?;
        if family != AddressFamily::UNIX {
            tune(&fd)?;
        }
        self.registrar.add(&fd, Source::Flow(self.port, token), poll::EDGE)?;
        Ok(TcpSocket { fd, peek_at: None, at_once: true, family, reports: false })
    }

    /// Memory for `len` bytes that nobody wants.
    fn waste(&mut self, len: usize) -> Option<&mut [u8]> {
        if len > WASTE {
            return None;
        }
        if self.waste.len() < len {
            self.waste.resize(len, 0);
        }
        self.waste.get_mut(..len)
    }
}

/// Does this kernel have `SO_PEEK_OFF` for stream sockets of the family? A family it lacks needs none.
fn has_peek_offset(family: AddressFamily) -> bool {
    rustix::net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)
        .map_or(true, |fd| sys::set_peek_offset(fd.as_fd(), 0).is_ok())
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

/// A host without the family has no way there.
fn without_family(error: Errno) -> Errno {
    if error == Errno::AFNOSUPPORT { Errno::NETUNREACH } else { error }
}

/// Does the host lack an address to talk to `to` from, as one does where IPv6 is switched off? Sends nothing.
fn has_no_address_for(to: &SocketAddr) -> bool {
    let probe = rustix::net::socket_with(family(to), SocketType::DGRAM, FLAGS, None);
    probe.is_ok_and(|fd| rustix::net::connect(&fd, to) == Err(Errno::ADDRNOTAVAIL))
}

/// Errors handed over in one call.
const ERRORS: usize = 32;
/// What is kept of the datagram that an error is about: more than any router quotes.
const QUOTE: usize = 2048;

/// What an entry of the error queue says.
fn report_of(error: &QueuedError) -> Option<Report> {
    match error.origin {
        libc::SO_EE_ORIGIN_ICMP => Report::from_v4(error.kind, error.code, error.info),
        libc::SO_EE_ORIGIN_ICMP6 => Report::from_v6(error.kind, error.code, error.info),
        _ if error.errno == libc::EMSGSIZE => Some(Report::TooBig(error.info)),
        _ => None,
    }
}

const FLAGS: SocketFlags = SocketFlags::NONBLOCK.union(SocketFlags::CLOEXEC);

impl Host for RealHost {
    type Tcp = TcpSocket;
    type Datagram = DatagramSocket;

    fn tcp_connect(&mut self, token: Token, to: SocketAddr, hops: Option<u8>) -> io::Result<TcpSocket> {
        let fd =
            rustix::net::socket_with(family(&to), SocketType::STREAM, FLAGS, None).map_err(without_family)?;
        tune(&fd)?;
        if let Some(hops) = hops {
            errors::set_hops(fd.as_fd(), to.is_ipv6(), hops)?;
            errors::want_errors(fd.as_fd(), to.is_ipv6(), true)?;
        }
        match rustix::net::connect(&fd, &to) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            // Of the two meanings that this has, no port is left and no address is there, the second one.
            Err(Errno::ADDRNOTAVAIL) if has_no_address_for(&to) => return Err(Errno::NETUNREACH.into()),
            Err(error) => return Err(error.into()),
        }
        self.registrar.add(&fd, Source::Flow(self.port, token), poll::EDGE)?;
        Ok(TcpSocket {
            fd,
            peek_at: None,
            at_once: to.ip().is_loopback(),
            family: family(&to),
            reports: hops.is_some(),
        })
    }

    fn tcp_connected(&mut self, socket: &mut TcpSocket) -> io::Result<bool> {
        sockopt::socket_error(&socket.fd)??;
        // A connect over the network cannot have ended yet: do not ask before the first event.
        if !std::mem::replace(&mut socket.at_once, true) {
            return Ok(false);
        }
        match rustix::net::getpeername(&socket.fd) {
            Ok(_) => {
                if std::mem::take(&mut socket.reports) {
                    // From now on it would break the connection for what may pass.
                    errors::want_errors(socket.fd.as_fd(), socket.family == AddressFamily::INET6, false)?;
                }
                Ok(true)
            }
            Err(Errno::NOTCONN) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn tcp_report(&mut self, socket: &mut TcpSocket) -> Option<(Report, Option<IpAddr>)> {
        if !socket.reports {
            return None;
        }
        let error = errors::next_error(socket.fd.as_fd(), &mut [0; QUOTE]).ok()?;
        Some((report_of(&error)?, error.offender))
    }

    fn tcp_peek(&mut self, socket: &mut TcpSocket, offset: usize, buf: &mut [u8]) -> io::Result<usize> {
        if offset > 0 && self.without_offset.contains(&socket.family) {
            let waste = self.waste(offset).ok_or(io::ErrorKind::WouldBlock)?;
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
            let taken = if socket.family == AddressFamily::UNIX {
                // MSG_TRUNC does not throw away there.
                let waste = self.waste(left.min(1 << 16)).ok_or(io::ErrorKind::OutOfMemory)?;
                rustix::net::recv(&socket.fd, waste, RecvFlags::DONTWAIT)?.0
            } else {
                sys::discard(socket.fd.as_fd(), left)?
            };
            match taken {
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
        sys::send_room(socket.fd.as_fd(), socket.family == AddressFamily::UNIX).unwrap_or(0)
    }

    fn tcp_shutdown(&mut self, socket: &mut TcpSocket) {
        let _ = rustix::net::shutdown(&socket.fd, Shutdown::Write);
    }

    fn tcp_abort(&mut self, socket: TcpSocket) {
        let _ = sockopt::set_socket_linger(&socket.fd, Some(Duration::ZERO));
    }

    fn datagram_open(&mut self, token: Token, kind: DatagramKind) -> io::Result<DatagramSocket> {
        let (family, protocol) = match kind {
            DatagramKind::Udp4 => (AddressFamily::INET, None),
            DatagramKind::Udp6 => (AddressFamily::INET6, None),
            DatagramKind::Ping4 => (AddressFamily::INET, Some(ipproto::ICMP)),
            DatagramKind::Ping6 => (AddressFamily::INET6, Some(ipproto::ICMPV6)),
        };
        let fd =
            rustix::net::socket_with(family, SocketType::DGRAM, FLAGS, protocol).map_err(without_family)?;
        let is_v6 = family == AddressFamily::INET6;
        errors::want_errors(fd.as_fd(), is_v6, true)?;
        self.registrar.add(&fd, Source::Flow(self.port, token), poll::EDGE)?;
        let is_udp = matches!(kind, DatagramKind::Udp4 | DatagramKind::Udp6);
        Ok(DatagramSocket::new(fd, is_v6, is_udp))
    }

    fn datagram_send(
        &mut self,
        socket: &mut DatagramSocket,
        to: &Peer,
        data: &[u8],
        how: Sending,
    ) -> io::Result<()> {
        self.trains.send(socket, to, data, how)
    }

    fn datagram_flush(&mut self) -> io::Result<()> {
        self.trains.flush()
    }

    fn datagram_recv(
        &mut self,
        socket: &mut DatagramSocket,
        sink: &mut dyn FnMut(&Peer, &[u8]),
    ) -> io::Result<bool> {
        Ok(self.batch.receive(socket.fd().as_fd(), sink)? == sys::BATCH)
    }

    fn datagram_errors(
        &mut self,
        socket: &mut DatagramSocket,
        sink: &mut dyn FnMut(&HostError<'_>),
    ) -> io::Result<bool> {
        let mut quote = [0; QUOTE];
        for _ in 0..ERRORS {
            let error = match errors::next_error(socket.fd().as_fd(), &mut quote) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                error => error?,
            };
            if let (Some(report), Some(to)) = (report_of(&error), error.to) {
                let payload = &quote[..error.quoted.min(QUOTE)];
                sink(&HostError { report, offender: error.offender, to, payload });
            }
        }
        Ok(true)
    }
}
