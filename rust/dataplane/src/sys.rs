//! The system calls that neither `std` nor `rustix` has. The only module of this crate with `unsafe`; every block
//! passes pointers to local, initialised memory whose length is passed beside it, and says what else it relies on.
#![allow(unsafe_code)]

pub mod errors;

use libc::{c_int, c_void, socklen_t};
use std::io;
use std::mem::{MaybeUninit, size_of, zeroed};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use wirebay_engine::Peer;

fn check(result: c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn set_int(fd: BorrowedFd<'_>, level: c_int, name: c_int, value: c_int) -> io::Result<()> {
    let len = size_of::<c_int>() as socklen_t;
    // SAFETY: the option value is one c_int on the stack.
    check(unsafe { libc::setsockopt(fd.as_raw_fd(), level, name, (&raw const value).cast::<c_void>(), len) })
}

/// Where `MSG_PEEK` starts in a TCP receive queue (Linux 6.9 and later); the kernel moves it along as bytes are peeked
/// and back as they are consumed.
pub fn set_peek_offset(fd: BorrowedFd<'_>, offset: u32) -> io::Result<()> {
    set_int(fd, libc::SOL_SOCKET, libc::SO_PEEK_OFF, offset as c_int)
}

/// Ask for the local address of each datagram that arrives. An IPv6 socket may have IPv4 clients too.
pub fn want_packet_info(fd: BorrowedFd<'_>) -> io::Result<()> {
    let v6 = set_int(fd, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1);
    v6.or_else(|_| set_int(fd, libc::IPPROTO_IP, libc::IP_PKTINFO, 1))
}

/// Free room in a socket's send queue: `SO_MEMINFO` (kernel accounting, so headers and slack count too).
pub fn send_room(fd: BorrowedFd<'_>, is_unix: bool) -> io::Result<usize> {
    const SK_MEMINFO_WMEM_ALLOC: usize = 2;
    const SK_MEMINFO_SNDBUF: usize = 3;
    const SK_MEMINFO_WMEM_QUEUED: usize = 5;
    let mut info = [0u32; 9];
    let mut len = size_of::<[u32; 9]>() as socklen_t;
    let place = info.as_mut_ptr().cast::<c_void>();
    // SAFETY: `info` is `len` bytes long; the kernel writes no more than that.
    check(unsafe {
        libc::getsockopt(fd.as_raw_fd(), libc::SOL_SOCKET, libc::SO_MEMINFO, place, &raw mut len)
    })?;
    let used = if is_unix { SK_MEMINFO_WMEM_ALLOC } else { SK_MEMINFO_WMEM_QUEUED };
    Ok(info[SK_MEMINFO_SNDBUF].saturating_sub(info[used]) as usize)
}

/// Drop `len` bytes off the head of a TCP receive queue without copying them.
pub fn discard(fd: BorrowedFd<'_>, len: usize) -> io::Result<usize> {
    let flags = libc::MSG_TRUNC | libc::MSG_DONTWAIT;
    // SAFETY: with MSG_TRUNC a TCP socket never writes to the buffer (tcp(7)), so there need not be one.
    let taken = unsafe { libc::recv(fd.as_raw_fd(), std::ptr::null_mut(), len, flags) };
    if taken < 0 { Err(io::Error::last_os_error()) } else { Ok(taken as usize) }
}

/// Peek into a receive queue: the first `skip` bytes are thrown away, the rest goes to `buf`. For kernels without
/// `SO_PEEK_OFF` on TCP. How much of `buf` was filled.
pub fn peek_after(fd: BorrowedFd<'_>, waste: &mut [u8], buf: &mut [u8]) -> io::Result<usize> {
    let mut pieces = [
        libc::iovec { iov_base: waste.as_mut_ptr().cast(), iov_len: waste.len() },
        libc::iovec { iov_base: buf.as_mut_ptr().cast(), iov_len: buf.len() },
    ];
    // SAFETY: all-zero is a valid msghdr.
    let mut message: libc::msghdr = unsafe { zeroed() };
    (message.msg_iov, message.msg_iovlen) = (pieces.as_mut_ptr(), 2);
    let flags = libc::MSG_PEEK | libc::MSG_DONTWAIT;
    // SAFETY: `message` points to `pieces`, which point to two live, distinct buffers.
    let got = unsafe { libc::recvmsg(fd.as_raw_fd(), &raw mut message, flags) };
    if got < 0 { Err(io::Error::last_os_error()) } else { Ok((got as usize).saturating_sub(waste.len())) }
}

/// A socket address as the kernel wants it.
#[derive(Clone, Copy)]
#[repr(C)]
union RawAddr {
    v4: libc::sockaddr_in,
    v6: libc::sockaddr_in6,
    un: libc::sockaddr_un,
    family: libc::sa_family_t,
}

/// Where a message comes from or goes to, in any family.
#[derive(Clone, Copy)]
pub struct Name {
    raw: RawAddr,
    len: socklen_t,
}

impl Name {
    /// An internet address.
    pub fn inet(addr: &SocketAddr) -> Self {
        let (raw, len) = encode(addr);
        Name { raw, len }
    }

    /// A unix socket: a path, or behind a zero byte a name of the abstract namespace. `None` when it is too long.
    pub fn unix(path: &[u8]) -> Option<Self> {
        // SAFETY: all-zero is a valid sockaddr_un.
        let mut raw: libc::sockaddr_un = unsafe { zeroed() };
        raw.sun_family = libc::AF_UNIX as libc::sa_family_t;
        let place = raw.sun_path.get_mut(..path.len()).filter(|_| path.len() < 108)?;
        for (to, &from) in place.iter_mut().zip(path) {
            *to = from.cast_signed();
        }
        let end = usize::from(path.first() != Some(&0));
        let len = std::mem::offset_of!(libc::sockaddr_un, sun_path) + path.len() + end;
        Some(Name { raw: RawAddr { un: raw }, len: len as socklen_t })
    }

    /// The internet address, if it is one.
    pub fn to_inet(&self) -> Option<SocketAddr> {
        decode(&self.raw)
    }

    /// Whether it names nobody, as that of a unix socket that is not bound.
    pub fn is_nobody(&self) -> bool {
        self.len as usize <= size_of::<libc::sa_family_t>()
    }
}

fn encode(addr: &SocketAddr) -> (RawAddr, socklen_t) {
    match addr {
        SocketAddr::V4(v4) => {
            // SAFETY: all-zero is a valid sockaddr_in.
            let mut raw: libc::sockaddr_in = unsafe { zeroed() };
            raw.sin_family = libc::AF_INET as libc::sa_family_t;
            raw.sin_port = v4.port().to_be();
            raw.sin_addr.s_addr = u32::from_ne_bytes(v4.ip().octets());
            (RawAddr { v4: raw }, size_of::<libc::sockaddr_in>() as socklen_t)
        }
        SocketAddr::V6(v6) => {
            // SAFETY: all-zero is a valid sockaddr_in6.
            let mut raw: libc::sockaddr_in6 = unsafe { zeroed() };
            raw.sin6_family = libc::AF_INET6 as libc::sa_family_t;
            raw.sin6_port = v6.port().to_be();
            raw.sin6_addr.s6_addr = v6.ip().octets();
            raw.sin6_scope_id = v6.scope_id();
            (RawAddr { v6: raw }, size_of::<libc::sockaddr_in6>() as socklen_t)
        }
    }
}

fn decode(raw: &RawAddr) -> Option<SocketAddr> {
    // SAFETY: every variant begins with the family, and the union was zeroed or filled by the kernel.
    match c_int::from(unsafe { raw.family }) {
        libc::AF_INET => {
            // SAFETY: the family says that this is a sockaddr_in.
            let v4 = unsafe { raw.v4 };
            let ip = Ipv4Addr::from(v4.sin_addr.s_addr.to_ne_bytes());
            Some(SocketAddr::V4(SocketAddrV4::new(ip, u16::from_be(v4.sin_port))))
        }
        libc::AF_INET6 => {
            // SAFETY: the family says that this is a sockaddr_in6.
            let v6 = unsafe { raw.v6 };
            let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
            Some(SocketAddr::V6(SocketAddrV6::new(ip, u16::from_be(v6.sin6_port), 0, v6.sin6_scope_id)))
        }
        _ => None,
    }
}

/// Room for the control messages used here, with their headers: packet information, and with it a segment size or an
/// extended error (104 bytes over IPv6).
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Control([u8; 128]);

impl Control {
    const EMPTY: Control = Control([0; 128]);
}

fn push_control<T>(message: &mut libc::msghdr, level: c_int, kind: c_int, value: &T) {
    let used = message.msg_controllen;
    // SAFETY: CMSG_SPACE and CMSG_LEN only compute.
    let (space, len) =
        unsafe { (libc::CMSG_SPACE(size_of::<T>() as u32), libc::CMSG_LEN(size_of::<T>() as u32)) };
    assert!(used + space as usize <= size_of::<Control>());
    // SAFETY: `msg_control` points to a zeroed, aligned `Control`, and the assertion keeps the write inside it.
    unsafe {
        #[allow(clippy::cast_ptr_alignment)] // CMSG_SPACE keeps `used` a multiple of the alignment
        let header = message.msg_control.cast::<u8>().add(used).cast::<libc::cmsghdr>();
        (*header).cmsg_level = level;
        (*header).cmsg_type = kind;
        (*header).cmsg_len = len as _;
        std::ptr::copy_nonoverlapping(
            std::ptr::from_ref(value).cast::<u8>(),
            libc::CMSG_DATA(header),
            size_of::<T>(),
        );
    }
    message.msg_controllen = (used + space as usize) as _;
}

/// Send one datagram, or with `segment` a train of them (`UDP_SEGMENT`), from the peer's local address if it has one.
pub fn send_datagram(fd: BorrowedFd<'_>, to: &Peer, data: &[u8], segment: Option<u16>) -> io::Result<()> {
    let (mut addr, addr_len) = encode(&to.addr);
    let mut piece = libc::iovec { iov_base: data.as_ptr().cast_mut().cast(), iov_len: data.len() };
    let mut control = Control::EMPTY;
    // SAFETY: all-zero is a valid msghdr.
    let mut message: libc::msghdr = unsafe { zeroed() };
    (message.msg_name, message.msg_namelen) = ((&raw mut addr).cast(), addr_len);
    (message.msg_iov, message.msg_iovlen) = (&raw mut piece, 1);
    message.msg_control = (&raw mut control).cast();
    message.msg_controllen = 0;
    match to.local {
        Some(IpAddr::V4(local)) => {
            // SAFETY: all-zero is a valid in_pktinfo.
            let mut info: libc::in_pktinfo = unsafe { zeroed() };
            info.ipi_spec_dst.s_addr = u32::from_ne_bytes(local.octets());
            push_control(&mut message, libc::IPPROTO_IP, libc::IP_PKTINFO, &info);
        }
        Some(IpAddr::V6(local)) => {
            // SAFETY: all-zero is a valid in6_pktinfo.
            let mut info: libc::in6_pktinfo = unsafe { zeroed() };
            info.ipi6_addr.s6_addr = local.octets();
            push_control(&mut message, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &info);
        }
        None => {}
    }
    if let Some(size) = segment {
        push_control(&mut message, libc::SOL_UDP, libc::UDP_SEGMENT, &size);
    }
    // SAFETY: everything `message` points to lives in this frame or in `data`, which sendmsg only reads.
    let sent =
        unsafe { libc::sendmsg(fd.as_raw_fd(), &raw const message, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Datagrams read in one call.
pub const BATCH: usize = 32;
/// Room for the longest frame with a tunnel's header; UDP has less.
const SLOT: usize = 72 << 10;

/// Memory for one batch of datagrams, used by every datagram socket in turn. Only touched pages cost memory.
pub struct DatagramBatch {
    data: Vec<u8>,
    addrs: Vec<RawAddr>,
    controls: Vec<Control>,
}

impl Default for DatagramBatch {
    fn default() -> Self {
        // SAFETY: all-zero is a valid RawAddr: an unspecified family.
        let addr: RawAddr = unsafe { zeroed() };
        DatagramBatch {
            data: vec![0; BATCH * SLOT],
            addrs: vec![addr; BATCH],
            controls: vec![Control::EMPTY; BATCH],
        }
    }
}

impl DatagramBatch {
    /// Read what has arrived, at most [`BATCH`] datagrams, and hand each to `sink`. How many there were.
    pub fn receive(&mut self, fd: BorrowedFd<'_>, sink: &mut dyn FnMut(&Peer, &[u8])) -> io::Result<usize> {
        self.receive_any(fd, &mut |name, header, data| {
            if let Some(addr) = name.to_inet() {
                sink(&Peer { addr, local: local_address(header) }, data);
            }
        })
    }

    /// The same for sockets of any family; names instead of peers.
    pub fn receive_named(
        &mut self,
        fd: BorrowedFd<'_>,
        sink: &mut dyn FnMut(&Name, &[u8]),
    ) -> io::Result<usize> {
        self.receive_any(fd, &mut |name, _, data| sink(name, data))
    }

    fn receive_any(
        &mut self,
        fd: BorrowedFd<'_>,
        sink: &mut dyn FnMut(&Name, &libc::msghdr, &[u8]),
    ) -> io::Result<usize> {
        // SAFETY: all-zero is valid for both types.
        let (mut pieces, mut messages): ([libc::iovec; BATCH], [libc::mmsghdr; BATCH]) =
            unsafe { (zeroed(), zeroed()) };
        for (i, slot) in self.data.chunks_mut(SLOT).enumerate() {
            pieces[i] = libc::iovec { iov_base: slot.as_mut_ptr().cast(), iov_len: SLOT };
            let header = &mut messages[i].msg_hdr;
            header.msg_iov = &raw mut pieces[i];
            header.msg_iovlen = 1;
            // A connected unix socket gets no names, and must not find that of an earlier message.
            self.addrs[i].family = 0;
            header.msg_name = (&raw mut self.addrs[i]).cast();
            header.msg_namelen = size_of::<RawAddr>() as socklen_t;
            header.msg_control = (&raw mut self.controls[i]).cast();
            header.msg_controllen = size_of::<Control>() as _;
        }
        let (place, none) = (messages.as_mut_ptr(), std::ptr::null_mut());
        // SAFETY: every header points to its own slot, address and control area, all alive and of the lengths given.
        let got =
            unsafe { libc::recvmmsg(fd.as_raw_fd(), place, BATCH as u32, libc::MSG_DONTWAIT as _, none) };
        check(got)?;
        for (i, message) in messages.iter().enumerate().take(got as usize) {
            let name = Name { raw: self.addrs[i], len: message.msg_hdr.msg_namelen };
            let start = i * SLOT;
            sink(&name, &message.msg_hdr, &self.data[start..start + (message.msg_len as usize).min(SLOT)]);
        }
        Ok(got as usize)
    }
}

/// A message to send, to the peer that the socket is connected to or to somebody by name.
pub type Message<'a> = (&'a [u8], Option<&'a Name>);

/// Send messages, at most [`BATCH`] of them. How many went out; an error is about the first.
pub fn send_messages(fd: BorrowedFd<'_>, list: &[Message<'_>]) -> io::Result<usize> {
    // SAFETY: all-zero is valid for both types.
    let (mut pieces, mut messages): ([libc::iovec; BATCH], [libc::mmsghdr; BATCH]) =
        unsafe { (zeroed(), zeroed()) };
    let count = list.len().min(BATCH);
    for (i, (data, name)) in list.iter().enumerate().take(count) {
        pieces[i] = libc::iovec { iov_base: data.as_ptr().cast_mut().cast(), iov_len: data.len() };
        let header = &mut messages[i].msg_hdr;
        (header.msg_iov, header.msg_iovlen) = (&raw mut pieces[i], 1);
        if let Some(name) = name {
            header.msg_name = (&raw const name.raw).cast_mut().cast();
            header.msg_namelen = name.len;
        }
    }
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: `count` headers point to data and names that are alive and that sendmmsg only reads.
    let sent = unsafe { libc::sendmmsg(fd.as_raw_fd(), messages.as_mut_ptr(), count as u32, flags as _) };
    check(sent)?;
    Ok(sent as usize)
}

fn local_address(message: &libc::msghdr) -> Option<IpAddr> {
    // SAFETY: the kernel has filled `message` and its control area; the CMSG macros stay inside it.
    unsafe {
        let mut header = libc::CMSG_FIRSTHDR(message);
        while !header.is_null() {
            if ((*header).cmsg_level, (*header).cmsg_type) == (libc::IPPROTO_IP, libc::IP_PKTINFO) {
                let info: libc::in_pktinfo =
                    libc::CMSG_DATA(header).cast::<libc::in_pktinfo>().read_unaligned();
                return Some(Ipv4Addr::from(info.ipi_spec_dst.s_addr.to_ne_bytes()).into());
            }
            if ((*header).cmsg_level, (*header).cmsg_type) == (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) {
                let info: libc::in6_pktinfo =
                    libc::CMSG_DATA(header).cast::<libc::in6_pktinfo>().read_unaligned();
                return Some(Ipv6Addr::from(info.ipi6_addr.s6_addr).into());
            }
            header = libc::CMSG_NXTHDR(message, header);
        }
    }
    None
}

/// Close every descriptor from 3 on but the ones in `keep`.
pub fn close_all_but(keep: &[RawFd]) -> io::Result<()> {
    let mut keep: Vec<u32> = keep.iter().map(|&fd| fd as u32).filter(|&fd| fd >= 3).collect();
    keep.sort_unstable();
    let mut first = 3;
    for fd in keep.into_iter().chain([u32::MAX]) {
        if fd > first {
            // SAFETY: only called while the process starts, before anything here owns a descriptor but the kept ones.
            check(unsafe { libc::close_range(first, fd - 1, 0) })?;
        }
        first = fd.saturating_add(1);
    }
    Ok(())
}

/// Take over a descriptor that was handed to the process by number.
pub fn adopt(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: F_GETFD only asks; it fails for a number that is no open descriptor.
    check(unsafe { libc::fcntl(fd, libc::F_GETFD) })?;
    // SAFETY: the caller passes on what it was given for keeps; the number is open.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// unshare(2). Separate from `rustix`'s, which is `unsafe` for the sake of `CLONE_FILES`; that flag is refused here.
pub fn unshare(flags: c_int) -> io::Result<()> {
    if flags & libc::CLONE_FILES != 0 {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: without CLONE_FILES no descriptor changes its meaning.
    check(unsafe { libc::unshare(flags) })
}

/// setns(2).
pub fn setns(fd: RawFd, kind: c_int) -> io::Result<()> {
    // SAFETY: no memory is involved.
    check(unsafe { libc::setns(fd, kind) })
}

/// Random bytes for the keys of hashes.
pub fn random_key() -> io::Result<[u8; 16]> {
    let mut key = MaybeUninit::<[u8; 16]>::zeroed();
    // SAFETY: the buffer is 16 bytes long.
    let got = unsafe { libc::getrandom(key.as_mut_ptr().cast(), 16, 0) };
    if got != 16 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it was zeroed, and is now filled.
    Ok(unsafe { key.assume_init() })
}
