"""What a script does on the host: its servers, its clients, and what they find, noted to be compared."""

from __future__ import annotations

import socket

from tests.oracles.user.host import HERE, LOOPBACK, PATIENCE
from tests.oracles.user.script import Do
from tests.oracles.user.stage import Stage
from tests.oracles.user.text import text

STREAM, DGRAM = socket.SOCK_STREAM, socket.SOCK_DGRAM
SIZE = 1 << 16


def serves(name: str, kind: socket.SocketKind, port: int, address: str = LOOPBACK) -> Do:
    """From here on the host has such a server."""

    def do(stage: Stage) -> None:
        stage.sockets[name] = stage.host.bound(kind, address, port)

    return do


def stops(name: str) -> Do:
    return lambda stage: stage.sockets.pop(name).close()


def accepts(name: str, connection: str) -> Do:
    """The server takes a connection, which has that name."""

    def do(stage: Stage) -> None:
        made, peer = stage.sockets[name].accept()
        made.settimeout(PATIENCE)
        stage.sockets[connection] = stage.host.sockets.enter_context(made)
        stage.notes["host.from"] = peer[0]

    return do


def connects(name: str, port: int, address: str = LOOPBACK, *, here: bool = True) -> Do:
    """A client of that name, on the host or on the other machine, connects to the host."""

    def do(stage: Stage) -> None:
        stage.sockets[name] = stage.host.new_socket(STREAM, address, here=here)
        stage.sockets[name].connect((address, port))

    return do


def gets(name: str) -> Do:
    """A connection's next data; "end" for its end, and the error's name for one."""

    def do(stage: Stage) -> None:
        try:
            data = stage.sockets[name].recv(SIZE)
            stage.notes["host.got"] = text(data) if data else "end"
        except OSError as error:
            stage.notes["host.got"] = type(error).__name__

    return do


def takes(name: str, *, skip: int = 0) -> Do:
    """A server's next datagram, noted without its first `skip` bytes; answers go where it is from."""

    def do(stage: Stage) -> None:
        try:
            data, stage.peers[name] = stage.sockets[name].recvfrom(SIZE)
        except TimeoutError:
            stage.notes["host.got"] = "nothing"
            return
        stage.notes["host.got"], stage.notes["host.from"] = text(data[skip:]), stage.peers[name][0]

    return do


def gives(name: str, data: bytes, *, to: str = "") -> Do:
    """A connection sends data, or a server a datagram: to whom it, or the server `to`, heard from last."""

    def do(stage: Stage) -> None:
        peer = stage.peers.get(to or name)
        if peer is None:
            stage.sockets[name].sendall(data)
        else:
            stage.sockets[name].sendto(data, peer)

    return do


def sends_from(name: str, port: int, data: bytes, *, here: bool = True) -> Do:
    """A client of that name sends a datagram to the host's port."""

    def do(stage: Stage) -> None:
        address = LOOPBACK if here else HERE
        if name not in stage.sockets:
            stage.sockets[name] = stage.host.new_socket(DGRAM, address, here=here)
        stage.sockets[name].sendto(data, (address, port))

    return do


def ends(name: str) -> Do:
    """A connection ends its direction."""
    return lambda stage: stage.sockets[name].shutdown(socket.SHUT_WR)


def resets(name: str) -> Do:
    """A connection is given up at once."""

    def do(stage: Stage) -> None:
        made = stage.sockets.pop(name)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        made.close()

    return do
