"""socket: QEMU's older spelling of `stream` and `dgram`; one of both at work, by the options."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from wirebay.errors import HostError
from wirebay.options.link_types import DgramOptions, FdAddr, SocketAddr, SocketOptions, StreamOptions
from wirebay.ports.base import Port
from wirebay.ports.dgram import DgramPort
from wirebay.ports.stream import StreamPort

if TYPE_CHECKING:
    from wirebay.network import Network


class SocketStreamPort(StreamPort):
    """`socket` with `listen`, `connect`, or `fd` of a stream socket."""

    kind = "socket"


class SocketDgramPort(DgramPort):
    """`socket` with `mcast`, `udp`, or `fd` of a datagram socket."""

    kind = "socket"


def make_port(network: Network, options: SocketOptions) -> Port:
    """The port that the options describe. Raises HostError when `fd` is no socket."""
    if options.mcast is not None:
        dgram = DgramOptions(id=options.id, local=options.localaddr, remote=options.mcast)
    elif options.udp is not None:
        dgram = DgramOptions(id=options.id, local=options.localaddr, remote=options.udp)
    elif options.fd is not None and type_of(options.fd) != socket.SOCK_STREAM:
        dgram = DgramOptions(id=options.id, local=options.fd)
    else:
        return SocketStreamPort(network, _stream(options))
    return SocketDgramPort(network, dgram)


def _stream(options: SocketOptions) -> StreamOptions:
    addr: SocketAddr | None = options.listen or options.connect or options.fd
    assert addr is not None
    return StreamOptions(id=options.id, server=options.listen is not None, addr=addr)


def type_of(addr: FdAddr) -> int:
    """The type of an inherited socket. Raises HostError, in QEMU's words, when it is none."""
    try:
        sock = socket.socket(fileno=int(addr.fd))
    except OSError:
        raise HostError("can't get socket option SO_TYPE") from None
    try:
        return sock.type
    finally:
        sock.detach()
