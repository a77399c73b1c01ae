"""stream: Ethernet frames over a stream socket, each behind a 4-byte length; QEMU's `-netdev stream`.

Python listens or connects, one peer at a time, and hands each connected socket to the worker, which moves
the frames. When the worker says that the peer is gone, the next one is taken: a server accepts whoever
waits in the backlog, a client connects again after `reconnect-ms` (0: never). As in QEMU, a client that
cannot connect is no error of the network: the log has the sentence.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import TYPE_CHECKING, Any

from wirebay.errors import HostError, WirebayError, WorkerError
from wirebay.options.types import FdAddr, InetAddr, StreamOptions
from wirebay.ports.base import Port
from wirebay.ports.sockets import (
    accept,
    address_text,
    adopt,
    check,
    connect,
    inherit,
    listen,
    name_text,
    peer_members,
    tune,
)
from wirebay.waiting import resolve

if TYPE_CHECKING:
    from wirebay.network import Network

logger = logging.getLogger("wirebay")

# After a failure that does not pass by itself, such as no free descriptor.
ACCEPT_PAUSE = 0.5


class StreamPort(Port):
    """A stream socket; `state` is initializing, listening, connecting, closed, or the peer's address.

    `address` is the address listened on or connected to, with the port that the kernel picked for 0;
    `connected` resolves when there is a peer for the first time.
    """

    kind = "stream"
    # The worker's commands for a new port and for its peer.
    _commands = ("stream_add", "stream_attach")

    def __init__(self, network: Network, options: StreamOptions) -> None:
        super().__init__(network, options)
        check(options.addr)
        self.options = options
        self.state = "initializing"
        self.address = address_text(options.addr)
        self.connected: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._peer_gone: asyncio.Future[str] | None = None

    def describe(self) -> str:
        """One line for people: where it listens or connects to."""
        doing = "listening on" if self.options.server else "connecting to"
        if isinstance(self.options.addr, FdAddr):
            doing = "using"
        return f"{self.id}: {doing} {self.address}"

    async def open(self) -> None:
        """Listen, or start to connect. Raises HostError when the address cannot be had."""
        await self._add_to_worker(self._commands[0], **self._members())
        if self.options.server:
            await self._listen()
        elif isinstance(self.options.addr, FdAddr):
            await self._attach(adopt(self.options.addr))
        else:
            self._run("connecting", self._connect_for_ever)

    def _members(self) -> dict[str, Any]:
        """What the worker is told of the port beside its name."""
        return {}

    async def _listen(self) -> None:
        addr, given = self.options.addr, self.network.listeners.get(self.id)
        listener, unlink = inherit(given) if given else await listen(addr)
        self._teardown.add(unlink)
        self._teardown.add(listener.close)
        if given:
            self.address = name_text(listener)
        elif isinstance(addr, InetAddr):
            host, port = listener.getsockname()[:2]
            self.address = f"tcp:{addr.host or host}:{port}"
        self.state = "listening"
        self._run("accepting", self._accept_for_ever, listener)

    async def _accept_for_ever(self, listener: socket.socket) -> None:
        while True:
            self.state = "listening"
            try:
                peer = await accept(listener)
            except OSError as error:
                logger.warning("%s port '%s' could not accept a peer: %s", self.kind, self.id, error.strerror)
                await asyncio.sleep(ACCEPT_PAUSE)
            else:
                await self._serve(peer)

    async def _connect_for_ever(self) -> None:
        while True:
            self.state = "connecting"
            try:
                peer = await connect(self.options.addr)
            except HostError as error:
                logger.warning("%s port '%s': %s", self.kind, self.id, error)
            else:
                await self._serve(peer)
            self.state = "closed"
            if not self.options.reconnect_ms:
                return
            await asyncio.sleep(self.options.reconnect_ms / 1000)

    async def _serve(self, peer: socket.socket) -> None:
        """Give `peer` to the worker and wait until it is gone."""
        try:
            gone = await self._attach(peer)
        except WorkerError:
            raise
        except (WirebayError, OSError) as error:
            logger.warning("%s port '%s' could not take its peer: %s", self.kind, self.id, error)
            await asyncio.sleep(ACCEPT_PAUSE)
        else:
            await gone

    async def _attach(self, peer: socket.socket) -> asyncio.Future[str]:
        """Give `peer` to the worker; the future resolves to why it went."""
        with peer:
            tune(peer, self.options.addr)
            name, members = self._peer_text(peer), peer_members(peer, self.options.addr)
            gone = self._peer_gone = asyncio.get_running_loop().create_future()
            await self.network.worker.call(self._commands[1], port=self.id, fds=[peer.fileno()])
            self.state = name
        resolve(self.connected)
        logger.info("%s port '%s' is connected: %s", self.kind, self.id, self.state)
        self.network.tell("NETDEV_STREAM_CONNECTED", {"netdev-id": self.id, "addr": members})
        gone.add_done_callback(self._tell_gone)  # so that it never comes before
        return gone

    def _peer_text(self, peer: socket.socket) -> str:
        if peer.family == socket.AF_UNIX:
            return self.address
        host, port = peer.getpeername()[:2]
        return f"tcp:{host}:{port}"

    def on_event(self, event: dict[str, Any]) -> None:
        """`stream_closed`: log why, and let the next peer in."""
        if event["event"] == "stream_closed" and self._peer_gone and not self._peer_gone.done():
            reason = str(event.get("reason"))
            self.state = "closed"
            logger.info("%s port '%s': %s", self.kind, self.id, reason)
            self._peer_gone.set_result(reason)

    def _tell_gone(self, gone: asyncio.Future[str]) -> None:
        del gone
        self.network.tell("NETDEV_STREAM_DISCONNECTED", {"netdev-id": self.id})
