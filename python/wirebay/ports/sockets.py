"""Stream sockets by QEMU's socket addresses: listening, connecting, and tuning them for frames."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from wirebay.errors import HostError, OptionError
from wirebay.options.link_types import FdAddr, InetAddr, SocketAddr, UnixAddr
from wirebay.waiting import readable

Listener = tuple[socket.socket, Callable[[], None]]

# QEMU listens with a backlog of 1; more lets several guests wait for their turn.
BACKLOG = 16
# One unix socket buffer holds about 60 super-segments; with the kernel's default of 208 KiB it holds three.
UNIX_BUFFER = 4 << 20
# Linux, asm-generic/socket.h: the same as SO_SNDBUF and SO_RCVBUF, without the ceiling, for CAP_NET_ADMIN.
BUFFER_OPTIONS = ((32, socket.SO_SNDBUF), (33, socket.SO_RCVBUF))
# sockaddr_un.sun_path with its final zero.
UNIX_PATH_MAX = 108


def address_text(addr: SocketAddr) -> str:
    """The address as QEMU's `info network` spells it: unix:PATH, tcp:HOST:PORT, fd:N."""
    scheme = "unix" if isinstance(addr, UnixAddr) else "tcp" if isinstance(addr, InetAddr) else "fd"
    return f"{scheme}:{bare_text(addr)}"


def bare_text(addr: SocketAddr) -> str:
    """The address as QEMU's error sentences spell it."""
    if isinstance(addr, UnixAddr):
        return addr.path
    if isinstance(addr, InetAddr):
        return f"{addr.host}:{addr.port}"
    return addr.fd


def peer_members(peer: socket.socket, addr: SocketAddr) -> dict[str, object]:
    """Where a connected socket leads, as QEMU's events have it (`SocketAddress`)."""
    if peer.family == socket.AF_UNIX:
        return {"type": "unix", "path": addr.path if isinstance(addr, UnixAddr) else ""}
    host, port = peer.getpeername()[:2]
    family = "ipv6" if peer.family == socket.AF_INET6 else "ipv4"
    return {"type": "inet", "host": host, "port": str(port), family: True}


def check(addr: SocketAddr) -> None:
    """Raise OptionError for an address that no host could take."""
    if isinstance(addr, UnixAddr) and len(os.fsencode(addr.path)) >= UNIX_PATH_MAX:
        limit = f"it must be less than {UNIX_PATH_MAX} bytes"
        raise OptionError(f"UNIX socket path '{addr.path}' is too long: {limit}")
    if isinstance(addr, InetAddr) and addr.ipv4 is False and addr.ipv6 is False:
        raise OptionError("Cannot disable IPv4 and IPv6 at same time")


async def listen(addr: SocketAddr) -> Listener:
    """A listening socket, and what to call when it closes. Raises HostError naming the address."""
    try:
        if isinstance(addr, UnixAddr):
            return listen_unix(addr)
        if isinstance(addr, InetAddr):
            return await listen_inet(addr)
        return listen_fd(addr)
    except OSError as error:
        raise HostError(f"Failed to bind socket to '{bare_text(addr)}': {error.strerror}") from error


def listen_unix(addr: UnixAddr, kind: int = socket.SOCK_STREAM) -> Listener:
    """A listener on a path. As in QEMU it replaces a socket that is there; unlike QEMU, it cleans up."""
    listener = new_socket(socket.AF_UNIX, kind)
    with closing_on_error(listener):
        if addr.abstract:
            listener.bind(unix_name(addr))
            listener.listen(BACKLOG)
            return listener, lambda: None
        path = Path(addr.path).absolute()
        remove_stale_socket(path)
        listener.bind(addr.path)
        ours = identity(path)
        listener.listen(BACKLOG)
    return listener, lambda: unlink_if(path, ours)


def remove_stale_socket(path: Path) -> None:
    """Remove a socket at `path`. Raises HostError when something else is there."""
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise HostError(f"Failed to bind socket to '{path}': the path exists and is not a socket")
        path.unlink()


def identity(path: Path) -> tuple[int, int] | None:
    """Device and inode of the file at `path`, None when there is none."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def unlink_if(path: Path, ours: tuple[int, int] | None) -> None:
    """Remove `path` if it is still the file we made: another process may have replaced it."""
    if ours is not None and identity(path) == ours:
        path.unlink()


def unix_name(addr: UnixAddr) -> str:
    """The name to bind or connect to. An abstract name that is not tight fills the address with zeros."""
    if not addr.abstract:
        return addr.path
    return "\0" + (addr.path if addr.tight else addr.path.ljust(UNIX_PATH_MAX - 1, "\0"))


async def listen_inet(addr: InetAddr) -> Listener:
    """A listener on the first address and port (up to `to`) that is free."""
    failure = OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
    for family, name in await resolve(addr, socket.AI_PASSIVE):
        for port in range(name[1], max(addr.to or 0, name[1]) + 1):
            try:
                return bind_inet(addr, family, (name[0], port, *name[2:])), lambda: None
            except OSError as error:
                failure = error
                if error.errno != errno.EADDRINUSE:
                    break
    raise failure


def bind_inet(addr: InetAddr, family: int, name: tuple[Any, ...]) -> socket.socket:
    """A listener on one address."""
    listener = new_socket(family)
    with closing_on_error(listener):
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, addr.ipv4 is False)
        listener.bind(name)
        listener.listen(BACKLOG)
    return listener


def listen_fd(addr: FdAddr) -> Listener:
    """A listener on an inherited socket, which is taken over."""
    listener = adopt(addr)
    with closing_on_error(listener):
        listener.listen(BACKLOG)
    return listener, lambda: None


def inherit(listener: socket.socket) -> Listener:
    """A listener that somebody else opened, who keeps it and what belongs to it, such as its file."""
    return listener.dup(), lambda: None


def name_text(listener: socket.socket) -> str:
    """Where a socket listens, as `address_text` spells it."""
    name = listener.getsockname()
    if listener.family == socket.AF_UNIX:
        return f"unix:{os.fsdecode(name)}".replace("\0", "@")
    return f"tcp:{name[0]}:{name[1]}"


async def accept(listener: socket.socket) -> socket.socket:
    """The next connection. Unlike asyncio's own, this loses none when it is cancelled. Raises OSError."""
    while True:
        await readable(listener.fileno())
        with contextlib.suppress(BlockingIOError, ConnectionAbortedError):  # it has left again
            return listener.accept()[0]


async def connect(addr: SocketAddr, kind: int = socket.SOCK_STREAM) -> socket.socket:
    """A connected socket. Raises HostError naming the address."""
    try:
        if isinstance(addr, UnixAddr):
            return await connect_to(socket.AF_UNIX, unix_name(addr), kind)
        if isinstance(addr, InetAddr):
            return await connect_inet(addr)
        return adopt(addr)
    except OSError as error:
        # Not its own text: asyncio has "Connect call failed" for every reason.
        reason = os.strerror(error.errno) if error.errno else error.strerror
        raise HostError(f"Failed to connect to '{bare_text(addr)}': {reason}") from error


async def connect_inet(addr: InetAddr) -> socket.socket:
    """A connection to the first of the host's addresses that answers."""
    failure = OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
    for family, name in await resolve(addr, 0):
        try:
            return await connect_to(family, name)
        except OSError as error:
            failure = error
    raise failure


async def connect_to(
    family: int, name: str | tuple[Any, ...], kind: int = socket.SOCK_STREAM
) -> socket.socket:
    """A connection to one address. Raises OSError."""
    peer = new_socket(family, kind)
    with closing_on_error(peer):
        await asyncio.get_running_loop().sock_connect(peer, name)
        # A unix listener with a full backlog makes asyncio believe in a connection that is none.
        peer.getpeername()
    return peer


async def resolve(
    addr: InetAddr, flags: int, kind: int = socket.SOCK_STREAM
) -> list[tuple[int, tuple[Any, ...]]]:
    """Families and names to bind or connect to. Raises HostError when the host name has no address."""
    if addr.numeric:
        flags |= socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
    family = socket.AF_UNSPEC
    if addr.ipv4 is not addr.ipv6:
        family = socket.AF_INET if addr.ipv4 or addr.ipv6 is False else socket.AF_INET6
    try:
        found = await asyncio.get_running_loop().getaddrinfo(
            addr.host or None, addr.port or None, family=family, type=kind, flags=flags
        )
    except socket.gaierror as error:
        raise HostError(f"address resolution failed for {bare_text(addr)}: {error.strerror}") from error
    return [(entry[0], entry[4]) for entry in found]


def adopt(addr: FdAddr) -> socket.socket:
    """The inherited stream socket `addr.fd`, taken over. Raises HostError when it is something else."""
    try:
        sock = socket.socket(fileno=int(addr.fd))
    except (OSError, ValueError):
        raise HostError(f"File descriptor '{addr.fd}' is not a socket") from None
    if sock.type != socket.SOCK_STREAM:
        sock.detach()
        raise HostError(f"File descriptor '{addr.fd}' is not a stream socket")
    sock.setblocking(False)
    sock.set_inheritable(False)
    return sock


def tune(peer: socket.socket, addr: SocketAddr) -> None:
    """Set a connected socket up for frames: no delay, large buffers, not blocking."""
    peer.setblocking(False)
    if peer.family in (socket.AF_INET, socket.AF_INET6):
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if isinstance(addr, InetAddr) and addr.keep_alive:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    elif peer.family == socket.AF_UNIX:
        for force, plain in BUFFER_OPTIONS:
            try:
                peer.setsockopt(socket.SOL_SOCKET, force, UNIX_BUFFER)
            except PermissionError:
                peer.setsockopt(socket.SOL_SOCKET, plain, UNIX_BUFFER)


def new_socket(family: int, kind: int = socket.SOCK_STREAM) -> socket.socket:
    """A socket that asyncio can use."""
    sock = socket.socket(family, kind)
    sock.setblocking(False)
    return sock


@contextlib.contextmanager
def closing_on_error(sock: socket.socket) -> Iterator[None]:
    """Close `sock` if the block fails."""
    try:
        yield
    except BaseException:
        sock.close()
        raise
