//! What the network reports about datagrams: the error queue of a socket (ip(7), `IP_RECVERR`), and the two settings
//! that decide which reports there are.

use super::{Control, RawAddr, check, decode, set_int};
use libc::{c_int, socklen_t};
use std::io;
use std::mem::{size_of, zeroed};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd};

/// One entry of an error queue, with the fields of `struct sock_extended_err`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct QueuedError {
    /// Where the datagram was sent to; a ping socket's has port 0.
    pub to: Option<SocketAddr>,
    /// Who reported the error, if it was not this host.
    pub offender: Option<IpAddr>,
    /// The kernel's word for it.
    pub errno: i32,
    /// `SO_EE_ORIGIN_*`.
    pub origin: u8,
    /// The type of the ICMP message.
    pub kind: u8,
    /// Its code.
    pub code: u8,
    /// The MTU, where that is the matter.
    pub info: u32,
    /// How much of the datagram was quoted, in bytes, beyond the UDP header; a ping socket's begins with the ICMP header.
    pub quoted: usize,
}

/// Collect errors in the socket's queue, for either family.
pub fn want_errors(fd: BorrowedFd<'_>, is_v6: bool, on: bool) -> io::Result<()> {
    set_either(fd, is_v6, (libc::IP_RECVERR, libc::IPV6_RECVERR), c_int::from(on))
}

/// How many hops what is sent from now on lives, at least one.
pub fn set_hops(fd: BorrowedFd<'_>, is_v6: bool, hops: u8) -> io::Result<()> {
    set_either(fd, is_v6, (libc::IP_TTL, libc::IPV6_UNICAST_HOPS), c_int::from(hops.max(1)))
}

/// Whether what is sent from now on may be fragmented on its way, by this host among others.
pub fn set_dont_fragment(fd: BorrowedFd<'_>, is_v6: bool, on: bool) -> io::Result<()> {
    let value = match (is_v6, on) {
        (false, true) => libc::IP_PMTUDISC_DO,
        (false, false) => libc::IP_PMTUDISC_DONT,
        (true, true) => libc::IPV6_PMTUDISC_DO,
        (true, false) => libc::IPV6_PMTUDISC_DONT,
    };
    set_either(fd, is_v6, (libc::IP_MTU_DISCOVER, libc::IPV6_MTU_DISCOVER), value)
}

fn set_either(fd: BorrowedFd<'_>, is_v6: bool, names: (c_int, c_int), value: c_int) -> io::Result<()> {
    let (level, name) = if is_v6 { (libc::IPPROTO_IPV6, names.1) } else { (libc::IPPROTO_IP, names.0) };
    set_int(fd, level, name, value)
}

/// Take the oldest entry out of a socket's error queue; what was quoted of the datagram goes to `buf`. `WouldBlock`
/// when the queue is empty.
pub fn next_error(fd: BorrowedFd<'_>, buf: &mut [u8]) -> io::Result<QueuedError> {
    let mut piece = libc::iovec { iov_base: buf.as_mut_ptr().cast(), iov_len: buf.len() };
    let mut control = Control::EMPTY;
    // SAFETY: all-zero is valid for both types: an unspecified family, and a message without parts.
    let (mut addr, mut message): (RawAddr, libc::msghdr) = unsafe { (zeroed(), zeroed()) };
    (message.msg_name, message.msg_namelen) = ((&raw mut addr).cast(), size_of::<RawAddr>() as socklen_t);
    (message.msg_iov, message.msg_iovlen) = (&raw mut piece, 1);
    (message.msg_control, message.msg_controllen) = ((&raw mut control).cast(), size_of::<Control>() as _);
    let flags = libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT;
    // SAFETY: everything `message` points to lives in this frame or in `buf`, of the lengths given.
    let got = unsafe { libc::recvmsg(fd.as_raw_fd(), &raw mut message, flags) };
    check(got as c_int)?;
    let (error, offender) = extended_error(&message).ok_or(io::ErrorKind::InvalidData)?;
    Ok(QueuedError {
        to: decode(&addr),
        offender: decode(&offender).map(|addr| addr.ip()),
        errno: error.ee_errno as i32,
        origin: error.ee_origin,
        kind: error.ee_type,
        code: error.ee_code,
        info: error.ee_info,
        quoted: got as usize,
    })
}

/// The extended error among the control messages, and the address behind it.
fn extended_error(message: &libc::msghdr) -> Option<(libc::sock_extended_err, RawAddr)> {
    const SIZE: usize = size_of::<libc::sock_extended_err>();
    // SAFETY: the kernel has filled `message` and its control area; the CMSG macros stay inside it. What is copied to
    // `offender`, which all-zero is valid for, is no more than it holds and than the message says it carries.
    unsafe {
        let mut header = libc::CMSG_FIRSTHDR(message);
        while !header.is_null() {
            let kind = ((*header).cmsg_level, (*header).cmsg_type);
            let len = ((*header).cmsg_len as usize).saturating_sub(libc::CMSG_LEN(0) as usize);
            let ours = [(libc::IPPROTO_IP, libc::IP_RECVERR), (libc::IPPROTO_IPV6, libc::IPV6_RECVERR)];
            if ours.contains(&kind) && len >= SIZE {
                let data = libc::CMSG_DATA(header);
                let mut offender: RawAddr = zeroed();
                let rest = (len - SIZE).min(size_of::<RawAddr>());
                std::ptr::copy_nonoverlapping(data.add(SIZE), (&raw mut offender).cast(), rest);
                return Some((data.cast::<libc::sock_extended_err>().read_unaligned(), offender));
            }
            header = libc::CMSG_NXTHDR(message, header);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;
    use std::os::fd::AsFd;
    use std::time::{Duration, Instant};

    /// The error that sending to a port of the loopback where nobody listens brings.
    fn refused(loopback: &str) -> QueuedError {
        let closed = UdpSocket::bind((loopback, 0)).unwrap().local_addr().unwrap();
        let socket = UdpSocket::bind((loopback, 0)).unwrap();
        want_errors(socket.as_fd(), closed.is_ipv6(), true).unwrap();
        // As a forward's socket does: the address that the report came to stands before it.
        super::super::want_packet_info(socket.as_fd()).unwrap();
        set_hops(socket.as_fd(), closed.is_ipv6(), 0).unwrap();
        set_dont_fragment(socket.as_fd(), closed.is_ipv6(), true).unwrap();
        let mut quote = [0; 100];
        assert_eq!(next_error(socket.as_fd(), &mut quote).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        socket.send_to(b"hello", closed).unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        let error = loop {
            match next_error(socket.as_fd(), &mut quote) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && Instant::now() < deadline => {}
                error => break error.unwrap(),
            }
        };
        assert_eq!((&quote[..error.quoted], error.to), (&b"hello"[..], Some(closed)));
        error
    }

    #[test]
    fn a_closed_port_of_the_loopback_is_reported_with_its_offender_and_what_was_sent() {
        let error = refused("127.0.0.1");
        let icmp = (libc::SO_EE_ORIGIN_ICMP, 3, 3);
        assert_eq!((error.origin, error.kind, error.code), icmp);
        assert_eq!((error.errno, error.offender), (libc::ECONNREFUSED, Some("127.0.0.1".parse().unwrap())));
    }

    #[test]
    fn the_same_over_ipv6_where_the_host_has_it() {
        if UdpSocket::bind("[::1]:0").is_err() {
            // Without IPv6 on the loopback there is nobody to ask.
            return;
        }
        let error = refused("::1");
        assert_eq!((error.origin, error.kind, error.code), (libc::SO_EE_ORIGIN_ICMP6, 1, 4));
        assert_eq!((error.errno, error.offender), (libc::ECONNREFUSED, Some("::1".parse().unwrap())));
    }
}
