"""The control socket: its clients, and what each may cost.

A client is a task that reads, has the session answer, and writes. What it costs is bounded: MAX_MESSAGE bytes
of a message that is not complete, one command at a time, MAX_UNREAD bytes (and one reply) that it has not
read. One that does not read its replies is dropped after PATIENCE, one that does not read its events as soon
as they exceed the limit. Connections beyond MAX_CLIENTS are told so and closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

from wirebay.control.commands import COMMANDS
from wirebay.control.commands.general import version
from wirebay.control.events import subject
from wirebay.control.message import Splitter, TooLongError, encode, event, failure, greeting
from wirebay.control.place import Place, listening_at, stranger
from wirebay.control.session import Session
from wirebay.control.table import Context, Process
from wirebay.control.throttle import Throttle
from wirebay.network import Network

__all__ = ["controlled"]

MAX_CLIENTS = 16
MAX_UNREAD = 1 << 18  # bytes
PATIENCE = 10.0  # seconds
CHUNK = 1 << 14  # bytes
OWNER_ONLY = "this wirebay is controlled by its owner only, and from its own network namespace"

logger = logging.getLogger("wirebay")


@contextlib.asynccontextmanager
async def controlled(network: Network, path: Place, process: Process | None = None) -> AsyncIterator[None]:
    """Inside the context the network can be controlled over a unix socket at `path`, and `process` with it.

    Raises OptionError for a path that is too long, HostError when the place is taken or cannot be had.
    """
    with listening_at(path) as listener:
        server = ControlServer(network, process)
        listening = await asyncio.start_unix_server(server.serve, sock=listener)
        unwatch = network.watch(server.tell)
        try:
            yield
        finally:
            unwatch()
            listening.close()
            await server.close()


class ControlServer:
    """All clients of one network."""

    def __init__(self, network: Network, process: Process | None = None) -> None:
        started = time.monotonic()
        self._context = Context(network, lambda: time.monotonic() - started, process)
        self._clients: dict[Client, asyncio.Task[None]] = {}
        self._throttle: Throttle[bytes] = Throttle()
        self._timer: asyncio.TimerHandle | None = None

    def tell(self, name: str, data: Mapping[str, Any]) -> None:
        """Send an event to every client that gets any; of many alike the newest, a little later."""
        message, now = encode(event(name, data, time.time())), asyncio.get_running_loop().time()
        if self._throttle.offer(subject(name, data), message, now):
            self._broadcast(message)
        self._set_timer()

    def _set_timer(self) -> None:
        deadline = self._throttle.deadline()
        if self._timer is None and deadline is not None:
            self._timer = asyncio.get_running_loop().call_at(deadline, self._send_due)

    def _send_due(self) -> None:
        self._timer = None
        for message in self._throttle.due(asyncio.get_running_loop().time()):
            self._broadcast(message)
        self._set_timer()

    def _broadcast(self, message: bytes) -> None:
        for client in self._clients:
            if client.session.ready:
                client.send(message)

    def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection, in a task of its own, or turn it away with a sentence."""
        client = Client(reader, writer, Session(self._context, COMMANDS))
        if reason := self._refusal(client):
            client.refuse(reason)
            client.close()
            return
        self._clients[client] = asyncio.get_running_loop().create_task(self._converse(client))

    def _refusal(self, client: Client) -> str | None:
        if who := client.stranger():
            logger.warning("%s was turned away from the control socket", who)
            return OWNER_ONLY
        if len(self._clients) >= MAX_CLIENTS:
            return f"{MAX_CLIENTS} clients are connected already"
        return None

    async def _converse(self, client: Client) -> None:
        try:
            with contextlib.suppress(ConnectionError):
                await client.converse()
        finally:
            del self._clients[client]
            client.close()

    async def close(self) -> None:
        """End all clients, whatever they are at."""
        if self._timer:
            self._timer.cancel()
        tasks = list(self._clients.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for client in self._clients:  # whose tasks had not begun
            client.close()


class Client:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, session: Session) -> None:
        self.session = session
        self._reader = reader
        self._writer = writer

    def stranger(self) -> str | None:
        """Who this is, if it may not be here."""
        peer: socket.socket = self._writer.get_extra_info("socket")
        return stranger(peer)

    async def converse(self) -> None:
        """Greet, then answer until the client leaves. Raises ConnectionError when it leaves in between."""
        self.send(encode(greeting(version())))
        messages = Splitter()
        while data := await self._reader.read(CHUNK):
            try:
                for message in messages.feed(data):
                    self.send(encode(await self.session.answer(message)))
                    await self._drain()
            except TooLongError as error:
                self.refuse(str(error))
                return

    async def _drain(self) -> None:
        """Let the client read before it is given more to read."""
        try:
            async with asyncio.timeout(PATIENCE):
                await self._writer.drain()
        except TimeoutError:
            self.drop()

    def send(self, message: bytes) -> None:
        """Queue a message, or drop the client if it has not read too many before."""
        if self._writer.is_closing():
            return
        if self._writer.transport.get_write_buffer_size() <= MAX_UNREAD:
            self._writer.write(message)
        else:
            self.drop()

    def drop(self) -> None:
        """End the connection at once."""
        logger.warning("a control client was dropped: it does not read")
        self._writer.transport.abort()

    def refuse(self, sentence: str) -> None:
        """Say why this ends."""
        self.send(encode(failure("GenericError", sentence, {})))

    def close(self) -> None:
        """End the connection; what is on its way goes out if the client reads it at once."""
        if self._writer.transport.get_write_buffer_size():
            self._writer.transport.abort()
        else:
            self._writer.close()
