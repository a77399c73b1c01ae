"""Datagram sockets by QEMU's socket addresses: bound, connected or joined to a group, and large enough."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from wirebay.errors import HostError, OptionError
from wirebay.options.link_types import FdAddr, InetAddr, UnixAddr
from wirebay.ports.sockets import (
    BUFFER_OPTIONS,
    UNIX_BUFFER,
    closing_on_error,
    identity,
    remove_stale_socket,
    resolve,
    unix_name,
    unlink_if,
)

Destination = str | Mapping[str, object]
InetName = tuple[Any, ...]
ANY = "0.0.0.0"  # noqa: S104 - the interface that the route to the group has


def nothing() -> None:
    """Nothing to undo."""


@dataclass(frozen=True, kw_only=True)
class Sockets:
    """What `dgram_attach` gets: a socket, perhaps another to send with, and where frames go.

    `address` is for people; `undo` is called when the port closes.
    """

    receiver: socket.socket
    sender: socket.socket | None = None
    to: Destination = "peer"
    address: str = ""
    undo: Callable[[], None] = nothing

    def fds(self) -> list[int]:
        """The descriptors, as the worker wants them."""
        return [sock.fileno() for sock in (self.receiver, self.sender) if sock is not None]

    def close(self) -> None:
        """Close them here; the worker has its own by now."""
        self.receiver.close()
        if self.sender is not None:
            self.sender.close()


async def unicast(local: InetAddr, remote: InetAddr) -> Sockets:
    """A UDP socket bound to `local` and connected to `remote`: it takes frames from nobody else.

    Raises HostError when a name has no address or `local` cannot be had.
    """
    family, name = await first_of(remote)
    _, here = await first_of(local, family)
    sock = bound(family, here)
    with closing_on_error(sock):
        connect(sock, name)
    text = f"udp={text_of(sock.getsockname())}/{text_of(name)}"
    return Sockets(receiver=sock, address=text)


async def multicast(group: InetAddr, interface: InetAddr | None) -> Sockets:
    """A socket in a multicast group, and one of our own to send to it with.

    Loopback is on, as in QEMU, so that others on this host hear us; the worker knows our own frames by the
    sender's address. Raises HostError.
    """
    family, name = await first_of(group)
    local = None if interface is None or not interface.host else (await first_of(interface, family))[1]
    receiver = bound(family, name)
    with closing_on_error(receiver):
        try:
            join(receiver, name, local)
            sender = group_sender(family, name, local)
        except OSError as error:
            text = f"can't add socket to multicast group {group.host}: {error.strerror}"
            raise HostError(text) from error
    return Sockets(receiver=receiver, sender=sender, address=f"mcast={text_of(name)}")


def join(sock: socket.socket, group: InetName, local: InetName | None) -> None:
    """Make `sock` a member of `group`, on the interface with the address `local` or any. Raises OSError."""
    if sock.family == socket.AF_INET:
        member = socket.inet_aton(group[0]) + socket.inet_aton(local[0] if local else ANY)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
    else:
        scope = group[3] or (local[3] if local else 0)
        member = socket.inet_pton(socket.AF_INET6, group[0].partition("%")[0]) + struct.pack("@I", scope)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, member)


def group_sender(family: int, group: InetName, local: InetName | None) -> socket.socket:
    """A socket connected to `group`, with a port of its own. Raises OSError."""
    sock = new_dgram(family)
    with closing_on_error(sock):
        if family == socket.AF_INET:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 1)
            if local is not None:
                sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(local[0]))
        else:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, 1)
        sock.connect(group)
    return sock


def unix(local: UnixAddr, remote: UnixAddr) -> Sockets:
    """A unix socket bound to `local`; `remote` may come later, and come again.

    Raises HostError, OptionError for a `remote` that cannot be told to the worker.
    """
    if not remote.path.isprintable():
        raise OptionError(f"remote.path={remote.path!r}: the worker takes text only")
    sock, undo = bound_unix(local)
    to = {"unix": unix_name(remote)}
    return Sockets(receiver=sock, to=to, address=f"udp={local.path}:{remote.path}", undo=undo)


def bound_unix(local: UnixAddr) -> tuple[socket.socket, Callable[[], None]]:
    """A unix datagram socket bound to `local`, and what to call when it closes. A stale one makes room."""
    sock = new_dgram(socket.AF_UNIX)
    with closing_on_error(sock):
        if not local.abstract:
            remove_stale_socket(Path(local.path).absolute())
        try:
            sock.bind(unix_name(local))
        except OSError as error:
            raise HostError(f"Failed to bind socket to '{local.path}': {error.strerror}") from error
    if local.abstract:
        return sock, nothing
    path = Path(local.path).absolute()
    ours = identity(path)
    return sock, lambda: unlink_if(path, ours)


def inherited(addr: FdAddr) -> Sockets:
    """An inherited socket: connected, or bound to a multicast group. Raises HostError when it is neither."""
    try:
        sock = socket.socket(fileno=int(addr.fd))
    except (OSError, ValueError):
        raise HostError("can't get socket option SO_TYPE") from None
    if sock.type not in (socket.SOCK_DGRAM, socket.SOCK_SEQPACKET):
        sock.detach()
        raise HostError(f"File descriptor '{addr.fd}' is not a datagram socket")
    sock.setblocking(False)
    sock.set_inheritable(False)
    text = f"fd={addr.fd} {sock.family.name.removeprefix('AF_').lower()}"
    with contextlib.suppress(OSError):
        sock.getpeername()
        return Sockets(receiver=sock, address=text)
    group = sock.getsockname()
    if sock.family == socket.AF_INET and 224 <= int(group[0].partition(".")[0]) <= 239:
        return Sockets(receiver=sock, sender=group_sender(sock.family, group, None), address=text)
    sock.detach()
    raise HostError(f"File descriptor '{addr.fd}' is not connected, and bound to no multicast group")


def connect(sock: socket.socket, name: InetName) -> None:
    """Connect, which for datagrams only fails where there is no way. Raises HostError."""
    try:
        sock.connect(name)
    except OSError as error:
        raise HostError(f"Failed to connect to '{text_of(name)}': {error.strerror}") from error


def bound(family: int, name: InetName, kind: int = socket.SOCK_DGRAM, protocol: int = 0) -> socket.socket:
    """A socket bound to `name`, which others may share if it is a group. Raises HostError."""
    is_group = ip_address(name[0].partition("%")[0]).is_multicast
    try:
        sock = new_dgram(family, kind, protocol)
        with closing_on_error(sock):
            if is_group:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6 and kind == socket.SOCK_DGRAM:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind(name)
    except OSError as error:
        raise HostError(f"can't bind ip={name[0]} to socket: {error.strerror}") from error
    return sock


def new_dgram(family: int, kind: int = socket.SOCK_DGRAM, protocol: int = 0) -> socket.socket:
    """A socket with large buffers, not blocking."""
    sock = socket.socket(family, kind, protocol)
    with closing_on_error(sock):
        sock.setblocking(False)
        enlarge(sock)
    return sock


def enlarge(sock: socket.socket) -> None:
    """Give a socket buffers for a burst of frames, as far as we may."""
    for force, plain in BUFFER_OPTIONS:
        try:
            sock.setsockopt(socket.SOL_SOCKET, force, UNIX_BUFFER)
        except PermissionError:
            sock.setsockopt(socket.SOL_SOCKET, plain, UNIX_BUFFER)


async def first_of(addr: InetAddr, family: int | None = None) -> tuple[int, InetName]:
    """The first address of a host, of one family if that is given. Raises HostError."""
    found = await resolve(addr, 0 if addr.host else socket.AI_PASSIVE, socket.SOCK_DGRAM)
    for candidate, name in found:
        if family in (None, candidate):
            return candidate, name
    version = "IPv6" if family == socket.AF_INET6 else "IPv4"
    raise HostError(f"can't resolve host address '{addr.host}': it has no {version} address")


def text_of(name: InetName) -> str:
    """An address for people, as it is written in options."""
    return f"[{name[0]}]:{name[1]}" if ":" in name[0] else f"{name[0]}:{name[1]}"


@contextlib.contextmanager
def private_umask() -> Iterator[None]:
    """What is made inside is for its owner alone."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)
