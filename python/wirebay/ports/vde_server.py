"""vde with server=on: a switch that VDE clients find, each with a port of its own.

The directory gets `ctl`, a socket on which clients ask for a port, and for each client a datagram socket.
What a client asks us to send to is a path it has made up, so the socket there must be its own: else it could
have us write to sockets that it may not write to itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
import socket
import struct
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from wirebay.errors import HostError
from wirebay.options.link_types import UnixAddr, VdeOptions
from wirebay.ports.base import Port
from wirebay.ports.dgram import PLAIN
from wirebay.ports.dgram_sockets import bound_unix
from wirebay.ports.peers import Door, Peers
from wirebay.ports.sockets import check, listen_unix
from wirebay.ports.vde_message import MAX_REQUEST, MIN_REQUEST, Request, VdeError, pack_address, parse_request
from wirebay.ports.vde_sockets import give_away, until_end

if TYPE_CHECKING:
    from wirebay.network import Network

logger = logging.getLogger("wirebay")

REQUEST_SECONDS = 5.0
_CREDENTIALS = struct.Struct("=iII")


class VdePeer(Port):
    """One client."""

    kind = "vde"

    def __init__(self, network: Network, options: VdeOptions, text: str) -> None:
        super().__init__(network, options)
        self.text = text

    def describe(self) -> str:
        """One line for people: what the client says of itself."""
        return f"{self.id}: vde client {self.text}".rstrip()

    async def open(self) -> None:
        """Make the port."""
        await self._add_to_worker("dgram_add", framing=PLAIN)

    async def attach(self, data: socket.socket) -> None:
        """Give the worker the socket, connected to the client's."""
        await self.network.worker.call("dgram_attach", port=self.id, to="peer", fds=[data.fileno()])


class VdeServerPort(Port):
    """The switch; `sock` is its directory."""

    kind = "vde"

    def __init__(self, network: Network, options: VdeOptions) -> None:
        super().__init__(network, options)
        self.options = options
        self.sock = Path(options.sock).absolute()
        # The longest name in it is that of a client's socket.
        check(UnixAddr(path=str(self.sock / f"{options.max_peers:05d}")))
        self._peers = Peers(self, options.max_peers)

    def describe(self) -> str:
        """One line for people: where clients find it."""
        return f"{self.id}: vde switch at {self.sock} for up to {self.options.max_peers} clients"

    async def open(self) -> None:
        """Make the directory and listen. Raises HostError."""
        await self._add_to_worker("dgram_add", framing=PLAIN)
        self._make_directory()
        ctl = self.sock / "ctl"
        listener, unlink = listen_unix(UnixAddr(path=str(ctl)))
        self._teardown.add(unlink)
        self._teardown.add(listener.close)
        give_away(ctl, self.options)
        self._teardown.add(self._peers.close)
        self._run("accepting", self._admit_for_ever, listener)

    async def moved(self) -> None:
        """The clients follow."""
        await self._peers.follow()

    def _make_directory(self) -> None:
        try:
            # Who may read may also go in.
            self.sock.mkdir(mode=self.options.mode | (self.options.mode & 0o444) >> 2)
        except FileExistsError:
            if not self.sock.is_dir():
                raise HostError(f"sock={self.sock}: the path exists and is not a directory") from None
            return
        except OSError as error:
            raise HostError(f"sock={self.sock}: {error.strerror}") from error
        self._teardown.add(self._remove_directory)

    def _remove_directory(self) -> None:
        with contextlib.suppress(OSError):  # somebody else has put something there
            self.sock.rmdir()

    async def _admit_for_ever(self, listener: socket.socket) -> None:
        door = Door(self, listener)
        while True:
            await self._peers.room()
            control = await door.next_peer()
            child = VdePeer(self.network, replace(self.options, id=self._peers.free_id()), "")
            self._peers.admit(child, control, functools.partial(self._serve, child, control))

    async def _serve(self, child: VdePeer, control: socket.socket) -> None:
        """Hear what the client wants, give it a socket, and wait for its end."""
        control.setblocking(False)
        request = await read_request(control)
        child.text = request.text
        path = self.sock / f"{child.id.rpartition('/')[2]:0>5}"
        data, undo = bound_unix(UnixAddr(path=str(path)))
        try:
            with data:
                give_away(path, self.options)
                reach(data, request.path, control)
                await child.attach(data)
            await asyncio.get_running_loop().sock_sendall(control, pack_address(str(path)))
            await until_end(control)
        finally:
            undo()


async def read_request(control: socket.socket) -> Request:
    """What a client asks for, in the time it gets for that. Raises HostError."""
    data = b""
    try:
        async with asyncio.timeout(REQUEST_SECONDS):
            while len(data) < MIN_REQUEST:
                more = await asyncio.get_running_loop().sock_recv(control, MAX_REQUEST - len(data))
                if not more:
                    raise HostError("the client closed the connection in the middle of its request")
                data += more
        return parse_request(data)
    except TimeoutError:
        raise HostError(f"the client made no request within {REQUEST_SECONDS:.0f} seconds") from None
    except VdeError as error:
        raise HostError(str(error)) from None


def reach(data: socket.socket, path: str, control: socket.socket) -> None:
    """Connect to the client's socket, which must be its own. Raises HostError."""
    credentials = control.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, uid, _ = _CREDENTIALS.unpack(credentials)
    try:
        # By descriptor, so that what is connected to is what was looked at.
        fd = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            if uid not in (0, os.fstat(fd).st_uid):
                raise HostError(f"the client of user {uid} named a socket that is not its own, '{path}'")
            data.connect(f"/proc/self/fd/{fd}")
        finally:
            os.close(fd)
    except OSError as error:
        raise HostError(f"the client's socket '{path}' cannot be reached: {error.strerror}") from error
