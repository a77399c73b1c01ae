"""The framings of others: vfkit (unix datagrams), bess (unix packets in sequence) and stdio."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from wirebay.options.link_types import BessOptions, StdioOptions, UnixAddr, VfkitOptions
from wirebay.ports.base import Port
from wirebay.ports.dgram import PLAIN, DatagramPort
from wirebay.ports.dgram_sockets import Sockets, bound_unix
from wirebay.ports.peers import PeerPort
from wirebay.ports.sockets import check, listen_unix

if TYPE_CHECKING:
    from wirebay.network import Network


class VfkitPort(DatagramPort):
    """A unix datagram socket that waits for the VM: whoever sends frames gets the answers.

    vfkit begins with the four bytes "VFKT", to make its address known; later versions and krunkit do not.
    Both are taken, and a VM that starts anew is found at its new address.
    """

    kind = "vfkit"

    def __init__(self, network: Network, options: VfkitOptions) -> None:
        super().__init__(network, options)
        self._addr = UnixAddr(path=options.path)
        check(self._addr)

    async def _sockets(self) -> Sockets:
        sock, undo = bound_unix(self._addr)
        return Sockets(receiver=sock, to="sender", address=f"unixgram:{self._addr.path}", undo=undo)


class BessPort(PeerPort):
    """A SOCK_SEQPACKET unix socket on which each packet is a frame, as BESS and User-Mode Linux have it."""

    kind = "bess"

    def __init__(self, network: Network, options: BessOptions) -> None:
        super().__init__(network, options, UnixAddr(path=options.path))
        check(self.addr)
        self.options = options

    def describe(self) -> str:
        """One line for people: where it listens or connects to."""
        doing = "listening on" if self.options.server else "connecting to"
        return f"{self.id}: {doing} {self.address}"

    async def open(self) -> None:
        """Listen, or start to connect. Raises HostError when the path cannot be had."""
        await self._add_to_worker("dgram_add", framing=PLAIN)
        if not self.options.server:
            self._run("connecting", self._connect_for_ever, self.options.reconnect_ms, socket.SOCK_SEQPACKET)
            return
        assert isinstance(self.addr, UnixAddr)
        listener, unlink = listen_unix(self.addr, socket.SOCK_SEQPACKET)
        self._teardown.add(unlink)
        self._teardown.add(listener.close)
        self._run("accepting", self._accept_for_ever, listener)

    async def _hand_over(self, peer: socket.socket) -> None:
        await self.network.worker.call("dgram_attach", port=self.id, to="peer", fds=[peer.fileno()])


class StdioPort(Port):
    """Standard input and output of this process; `ended` resolves, to why, when the other side has gone.

    From then on this process has neither: what it would read or print goes nowhere.
    """

    kind = "stdio"

    def __init__(self, network: Network, options: StdioOptions) -> None:
        super().__init__(network, options)
        self.options = options
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def open(self) -> None:
        """Take both over. Raises HostError when they are files, which nobody can wait for."""
        await self._add_to_worker("stream_add", framing=self.options.framing)
        with standard_streams() as fds:
            await self.network.worker.call("stream_attach", port=self.id, fds=fds)

    def on_event(self, event: dict[str, Any]) -> None:
        """`stream_closed`: tell why."""
        if event["event"] == "stream_closed" and not self.ended.done():
            self.ended.set_result(str(event.get("reason")))


@contextmanager
def standard_streams() -> Iterator[list[int]]:
    """Standard input and output, replaced in this process by nothing."""
    fds = [os.dup(number) for number in (0, 1)]
    nothing = os.open(os.devnull, os.O_RDWR)
    try:
        for number in (0, 1):
            os.dup2(nothing, number, inheritable=True)
        yield fds
    finally:
        for fd in (nothing, *fds):
            os.close(fd)
