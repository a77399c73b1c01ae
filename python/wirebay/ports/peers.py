"""Ports whose peer comes and goes: one at a time (`PeerPort`), or several, each with its own port (`Peers`).

Theory. Python makes a connection and hands it to the worker, which moves the frames and tells when it has
ended (`stream_closed`). A `PeerPort` waits for that, then its owner brings the next peer. A server that takes
several peers never has one itself: for each, `Peers` makes a child port, ID/1, ID/2 and so on (no id that a
user can give has a slash), and a task that lives as long as the peer: it opens the child, plugs it in where
the server is plugged in, waits until the peer is gone, and removes the child. Where the server is moved, its
children follow. The number of children is bounded; peers beyond wait in the listener's backlog.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import socket
from abc import abstractmethod
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from wirebay.background import cancel
from wirebay.errors import WirebayError, WorkerError
from wirebay.options.link_types import SocketAddr
from wirebay.ports.base import Port
from wirebay.ports.sockets import accept, address_text, connect, peer_members
from wirebay.waiting import resolve

if TYPE_CHECKING:
    from wirebay.network import Network
    from wirebay.options.types import Netdev

logger = logging.getLogger("wirebay")

# After a failure that does not pass by itself, such as no free descriptor.
PAUSE = 0.5
# Peers taken at once, and a second from then on.
BURST, RATE = 100, 20


class PeerPort(Port):
    """A port with one peer, or the wait for one.

    `state` is initializing, listening, connecting, closed, or the peer's address; `address` is the address
    listened on or connected to; `connected` resolves when there is a peer for the first time.
    """

    def __init__(self, network: Network, options: Netdev, addr: SocketAddr) -> None:
        super().__init__(network, options)
        self.addr = addr
        self.state = "initializing"
        self.address = address_text(addr)
        self.connected: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._peer_gone: asyncio.Future[str] | None = None

    @abstractmethod
    async def _hand_over(self, peer: socket.socket) -> None:
        """Give the worker the socket."""

    async def attach(self, peer: socket.socket) -> asyncio.Future[str]:
        """Give `peer` to the worker; the future resolves to why it went."""
        with peer:
            name, members = self._peer_text(peer), peer_members(peer, self.addr)
            gone = self._peer_gone = asyncio.get_running_loop().create_future()
            await self._hand_over(peer)
            self.state = name
        resolve(self.connected)
        logger.info("%s port '%s' is connected: %s", self.kind, self.id, self.state)
        self.network.tell("NETDEV_STREAM_CONNECTED", {"netdev-id": self.id, "addr": members})
        gone.add_done_callback(self._tell_gone)  # so that it never comes before
        return gone

    async def serve(self, peer: socket.socket) -> None:
        """Give `peer` to the worker and wait until it is gone."""
        try:
            gone = await self.attach(peer)
        except WorkerError:
            raise
        except (WirebayError, OSError) as error:
            logger.warning("%s port '%s' could not take its peer: %s", self.kind, self.id, error)
            await asyncio.sleep(PAUSE)
        else:
            await gone

    async def _accept_for_ever(self, listener: socket.socket) -> None:
        door = Door(self, listener)
        while True:
            self.state = "listening"
            await self.serve(await door.next_peer())

    async def _connect_for_ever(self, reconnect_ms: int, kind: int = socket.SOCK_STREAM) -> None:
        said = ""
        while True:
            self.state = "connecting"
            try:
                peer = await connect(self.addr, kind)
            except WirebayError as error:
                if str(error) != said:  # one that goes on trying says it once
                    said = str(error)
                    logger.warning("%s port '%s': %s", self.kind, self.id, said)
            else:
                said = ""
                await self.serve(peer)
            self.state = "closed"
            if not reconnect_ms:
                return
            await asyncio.sleep(reconnect_ms / 1000)

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


class Door:
    """Takes a listener's peers, one by one and not too fast.

    A peer that connects in a loop would keep this process busy with nothing else: after a burst, peers are
    taken at a steady rate, which is told once.
    """

    def __init__(self, port: Port, listener: socket.socket) -> None:
        self._port = port
        self._listener = listener
        self._left = float(BURST)
        self._filled = asyncio.get_running_loop().time()
        self._told = False

    async def next_peer(self) -> socket.socket:
        """The next connection; what keeps it from being taken is logged, and tried again."""
        await self._wait_for_turn()
        while True:
            try:
                return await accept(self._listener)
            except OSError as error:
                port = self._port
                logger.warning("%s port '%s' could not accept a peer: %s", port.kind, port.id, error.strerror)
                await asyncio.sleep(PAUSE)

    async def _wait_for_turn(self) -> None:
        now = asyncio.get_running_loop().time()
        self._left = min(BURST, self._left + (now - self._filled) * RATE)
        self._filled = now
        if self._left >= 1:
            self._told = self._told and self._left < BURST / 2
        else:
            if not self._told:
                self._told = True
                sentence = "%s port '%s': peers come and go too fast; %d a second are taken"
                logger.warning(sentence, self._port.kind, self._port.id, RATE)
            await asyncio.sleep((1 - self._left) / RATE)
        self._left -= 1


class Peers:
    """The children of a server port, at most `limit`."""

    def __init__(self, server: Port, limit: int) -> None:
        self._server = server
        self._room = asyncio.Semaphore(limit)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._ports: dict[str, Port] = {}
        self._moving = asyncio.Lock()

    async def room(self) -> None:
        """Wait until there is room for one more, which the next `admit` takes."""
        await self._room.acquire()

    def free_id(self) -> str:
        """The id that the next child gets."""
        names = (f"{self._server.id}/{number}" for number in itertools.count(1))
        return next(name for name in names if name not in self._tasks)

    def admit(self, child: Port, sock: socket.socket, life: Callable[[], Awaitable[None]]) -> None:
        """Add a child, which is removed, and `sock` closed, when its `life` is over."""
        task = asyncio.get_running_loop().create_task(self._host(child, life))
        self._tasks[child.id] = task
        # Whoever removes the child ends its life, unless that is the end of its life.
        child.at_end(lambda: task is asyncio.current_task() or task.cancel())
        task.add_done_callback(lambda _: self._done(child, sock))

    def _done(self, child: Port, sock: socket.socket) -> None:
        sock.close()
        del self._tasks[child.id]
        self._room.release()

    async def follow(self) -> None:
        """Plug the children in where the server is."""
        async with self._moving:
            for port in tuple(self._ports.values()):
                if port.hub is not None and port.hub is not self._server.hub:
                    await port.hub.leave(port)
                if port.hub is None and self._server.hub is not None:
                    await self._server.hub.join_like(port, self._server)

    async def close(self) -> None:
        """Remove all children."""
        for task in tuple(self._tasks.values()):
            await cancel(task)

    async def _host(self, child: Port, life: Callable[[], Awaitable[None]]) -> None:
        try:
            await self._server.network.adopt(child)
            self._ports[child.id] = child
            await self.follow()
            await life()
        except WorkerError:
            pass  # the network is down, and says so itself
        except (WirebayError, OSError) as error:
            logger.warning("%s port '%s' could not take its peer: %s", child.kind, child.id, error)
        finally:
            for problem in await child.discard():
                logger.warning("port '%s' was not removed cleanly: %s", child.id, problem)
            self._ports.pop(child.id, None)
