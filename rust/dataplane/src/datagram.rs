//! Datagram sockets of the host, and how what guests send goes out through them: one by one, or as trains.
//!
//! A guest that sends much sends datagram after datagram of one size to one peer. The first of a batch goes out at once,
//! so that the guest hears of an error about it; from the second on they wait, together, for the end of the batch or for
//! one that does not fit, and leave in one call (`UDP_SEGMENT`), which costs the host's kernel little more than one.

use crate::sys::{self, errors};
use rustix::io::Errno;
use rustix::net::{AddressFamily, sockopt};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use wirebay_engine::host::HOPS;
use wirebay_engine::{Peer, Sending};

/// Most datagrams in a train: the least of what kernels take (`UDP_MAX_SEGMENTS`).
const MOST_CARS: usize = 64;
/// Most bytes in a train: what fits one packet beside the headers of either family.
const LONGEST: usize = u16::MAX as usize - 48;

/// A datagram socket, and what was set for what it sends.
pub struct DatagramSocket {
    fd: Rc<OwnedFd>,
    is_v6: bool,
    is_udp: bool,
    hops: u8,
    dont_fragment: Option<bool>,
}

impl DatagramSocket {
    /// A socket of ours, of UDP or for pings.
    pub fn new(fd: OwnedFd, is_v6: bool, is_udp: bool) -> Self {
        DatagramSocket { fd: Rc::new(fd), is_v6, is_udp, hops: HOPS, dont_fragment: None }
    }

    /// Take over a UDP socket that Python has made.
    pub fn adopt(fd: OwnedFd) -> io::Result<Self> {
        let is_v6 = sockopt::socket_domain(&fd)? == AddressFamily::INET6;
        errors::want_errors(fd.as_fd(), is_v6, true)?;
        Ok(DatagramSocket::new(fd, is_v6, true))
    }

    /// The descriptor.
    pub fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    fn prepare(&mut self, how: Sending) -> io::Result<()> {
        if self.hops != how.hops {
            errors::set_hops(self.fd.as_fd(), self.is_v6, how.hops)?;
            self.hops = how.hops;
        }
        if self.dont_fragment != Some(how.dont_fragment) {
            errors::set_dont_fragment(self.fd.as_fd(), self.is_v6, how.dont_fragment)?;
            self.dont_fragment = Some(how.dont_fragment);
        }
        Ok(())
    }
}

/// Send one datagram, or with `segment` a train.
fn send(fd: &OwnedFd, to: &Peer, data: &[u8], segment: Option<u16>) -> io::Result<()> {
    match send_once(fd, to, data, segment) {
        // This host has no address of the family.
        Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => Err(Errno::NETUNREACH.into()),
        // It may be about something that was sent before, and is told once.
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => send_once(fd, to, data, segment),
        sent => sent,
    }
}

fn send_once(fd: &OwnedFd, to: &Peer, data: &[u8], segment: Option<u16>) -> io::Result<()> {
    let one = |data: &[u8], segment| sys::send_datagram(fd.as_fd(), to, data, segment);
    match (one(data, segment), segment) {
        // A train too long for the kernel, or one the route cannot take: send the cars.
        (Err(e), Some(size))
            if matches!(e.raw_os_error(), Some(libc::EINVAL | libc::EIO | libc::EMSGSIZE)) =>
        {
            data.chunks(size.into()).try_for_each(|car| one(car, None))
        }
        (sent, _) => sent,
    }
}

/// Datagrams that wait for more of their kind.
struct Train {
    fd: Rc<OwnedFd>,
    to: Peer,
    how: Sending,
    /// Of every car but the last.
    size: usize,
    cars: usize,
}

/// The train of one user network, and what was sent last.
#[derive(Default)]
pub struct Trains {
    train: Option<Train>,
    data: Vec<u8>,
    /// Who sent to whom last in this batch.
    last: Option<(*const OwnedFd, Peer)>,
    failed: Option<io::Error>,
}

impl Trains {
    /// Send a datagram, or put it on the train.
    pub fn send(
        &mut self,
        socket: &mut DatagramSocket,
        to: &Peer,
        data: &[u8],
        how: Sending,
    ) -> io::Result<()> {
        if self.couple(socket, to, data, how) {
            return Ok(());
        }
        self.depart();
        socket.prepare(how)?;
        let this = (Rc::as_ptr(&socket.fd), *to);
        let follows = self.last.replace(this) == Some(this);
        if !follows || how.segment.is_some() || !socket.is_udp || data.is_empty() || data.len() > LONGEST / 2
        {
            return send(&socket.fd, to, data, how.segment);
        }
        self.data.extend_from_slice(data);
        self.train = Some(Train { fd: socket.fd.clone(), to: *to, how, size: data.len(), cars: 1 });
        Ok(())
    }

    /// Put a datagram behind the others, if it is one of theirs.
    fn couple(&mut self, socket: &DatagramSocket, to: &Peer, data: &[u8], how: Sending) -> bool {
        let Some(train) = &mut self.train else { return false };
        let whole = self.data.len() == train.size * train.cars;
        let fits = Rc::ptr_eq(&train.fd, &socket.fd)
            && (train.to, train.how) == (*to, how)
            && whole
            && (1..=train.size).contains(&data.len())
            && train.cars < MOST_CARS
            && self.data.len() + data.len() <= LONGEST;
        if fits {
            self.data.extend_from_slice(data);
            train.cars += 1;
        }
        fits
    }

    /// Send what waits.
    fn depart(&mut self) {
        let Some(train) = self.train.take() else { return };
        let segment = (train.cars > 1).then_some(train.size as u16);
        let sent = send(&train.fd, &train.to, &self.data, segment);
        self.data.clear();
        self.failed = self.failed.take().or(sent.err());
    }

    /// The batch ends: send what waits. Fails when some of the batch could not be sent.
    pub fn flush(&mut self) -> io::Result<()> {
        self.depart();
        self.last = None;
        self.failed.take().map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{SocketAddr, UdpSocket};
    use std::time::Duration;

    fn receiver() -> (UdpSocket, Peer) {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let addr = socket.local_addr().unwrap();
        (socket, Peer { addr, local: None })
    }

    fn sender() -> DatagramSocket {
        DatagramSocket::adopt(UdpSocket::bind("127.0.0.1:0").unwrap().into()).unwrap()
    }

    fn received(socket: &UdpSocket, count: usize) -> Vec<Vec<u8>> {
        let mut buf = vec![0; 65_536];
        let mut next = || {
            let len = socket.recv(&mut buf).unwrap();
            buf[..len].to_vec()
        };
        (0..count).map(|_| next()).collect()
    }

    #[test]
    fn what_waits_arrives_in_order_and_as_it_was_sent() {
        let (receiver, to) = receiver();
        let (mut socket, mut trains) = (sender(), Trains::default());
        let sizes = [1000, 1000, 1000, 400, 1000, 1000, 2000, 0, 10, 10, 10, 1];
        let data = |i: usize| vec![i as u8; sizes[i]];
        for i in 0..sizes.len() {
            trains.send(&mut socket, &to, &data(i), Sending::default()).unwrap();
        }
        trains.flush().unwrap();
        assert_eq!(received(&receiver, sizes.len()), (0..sizes.len()).map(data).collect::<Vec<_>>());
    }

    #[test]
    fn another_peer_another_socket_and_another_way_end_a_train() {
        let ((first, to_first), (second, to_second)) = (receiver(), receiver());
        let (mut one, mut other, mut trains) = (sender(), sender(), Trains::default());
        let far = Sending { hops: 5, ..Sending::default() };
        for i in 0..4_u8 {
            trains.send(&mut one, &to_first, &[i; 100], Sending::default()).unwrap();
        }
        trains.send(&mut one, &to_first, &[4; 100], far).unwrap();
        trains.send(&mut one, &to_second, &[5; 100], far).unwrap();
        trains.send(&mut other, &to_first, &[6; 100], far).unwrap();
        trains.flush().unwrap();
        let firsts: Vec<u8> = received(&first, 6).iter().map(|datagram| datagram[0]).collect();
        assert_eq!((firsts, received(&second, 1)), (vec![0, 1, 2, 3, 4, 6], vec![vec![5; 100]]));
    }

    #[test]
    fn the_first_of_a_batch_does_not_wait() {
        let (receiver, to) = receiver();
        let (mut socket, mut trains) = (sender(), Trains::default());
        trains.send(&mut socket, &to, b"now", Sending::default()).unwrap();
        assert_eq!(received(&receiver, 1), [b"now"]);
    }

    #[test]
    fn a_train_that_cannot_leave_is_told_at_the_end_of_the_batch() {
        let to = Peer { addr: SocketAddr::from(([127, 0, 0, 1], 0)), local: None };
        let (mut socket, mut trains) = (sender(), Trains::default());
        assert!(trains.send(&mut socket, &to, b"first", Sending::default()).is_err());
        trains.send(&mut socket, &to, b"waits", Sending::default()).unwrap();
        assert!(trains.flush().is_err());
        assert!(trains.flush().is_ok(), "once");
    }
}
