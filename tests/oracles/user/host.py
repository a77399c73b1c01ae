"""The host of both networks: a namespace with servers of the test's own, and another machine on a cable.

Nothing else is in it, so ports are fixed, its resolvers are what the test says, and whatever a guest hears is
said by the network under test. Sockets are made inside by a small program and handed over: the test itself is
every server and every client, and so nothing happens on the host but what a script says.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.guests.place import Place, place

PATIENCE = 5.0
LOOPBACK, LOOPBACK6 = "127.0.0.1", "::1"
# The other machine, and an address there is no way to (RFC 5737, RFC 3849).
HERE, ELSEWHERE, NOWHERE = "192.0.2.1", "192.0.2.2", "203.0.113.1"
HERE6, ELSEWHERE6, NOWHERE6 = "2001:db8::1", "2001:db8::2", "2001:db8:77::1"

FACTORY = """
import socket
channel = socket.socket(fileno=0)
while request := channel.recv(16):
    with socket.socket(*map(int, request.split())) as made:
        socket.send_fds(channel, [b"1"], [made.fileno()])
"""


class Host:
    """Where the networks under test run, with files in `folder`; `sockets` ends all sockets made here."""

    def __init__(self, where: Place, folder: Path, here: socket.socket, elsewhere: socket.socket) -> None:
        self.into, self.folder = where.into, folder
        self._factories = {True: here, False: elsewhere}
        self.sockets = contextlib.ExitStack()

    def new_socket(self, kind: socket.SocketKind, address: str, *, here: bool = True) -> socket.socket:
        """A new socket of the address's family in the namespace, or in that of the other machine."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        factory = self._factories[here]
        factory.sendall(f"{family:d} {kind:d}".encode())
        _, (fd,), _, _ = socket.recv_fds(factory, 1, 1)
        made = self.sockets.enter_context(socket.socket(fileno=fd))
        made.settimeout(PATIENCE)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return made

    def bound(self, kind: socket.SocketKind, address: str, port: int) -> socket.socket:
        """A socket bound to an address of the host; a stream socket listens."""
        made = self.new_socket(kind, address)
        made.bind((address, port))
        if kind == socket.SOCK_STREAM:
            made.listen()
        return made


@contextmanager
def a_host(folder: Path) -> Iterator[Host]:
    """A host with another machine; it is its own resolver, by both families, and lets everybody ping."""
    resolvers = folder / "resolv.conf"
    resolvers.write_text(f"nameserver {LOOPBACK}\nnameserver {LOOPBACK6}\n")
    with place() as where, place(where.into, ("--net", "--mount")) as other:
        where.link(other, f"{HERE}/24", f"{ELSEWHERE}/24")
        for end, interface, address in ((where, "to-other", HERE6), (other, "to-first", ELSEWHERE6)):
            end.shell(f"ip addr add {address}/64 dev {interface} nodad")
        where.shell(
            f"mount --bind {resolvers} $(readlink -f /etc/resolv.conf);"
            "echo '0 0' > /proc/sys/net/ipv4/ping_group_range"
        )
        with factory(where) as here, factory(other) as elsewhere:
            yield Host(where, folder, here, elsewhere)


@contextmanager
def factory(where: Place) -> Iterator[socket.socket]:
    """A socket on which the small program in `where` takes orders."""
    ours, theirs = socket.socketpair()
    with (
        ours,
        subprocess.Popen([*where.into, sys.executable, "-c", FACTORY], stdin=theirs.fileno()) as process,
    ):
        theirs.close()
        try:
            yield ours
        finally:
            ours.close()
            process.wait(PATIENCE)
