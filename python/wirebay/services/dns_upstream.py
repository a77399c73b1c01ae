"""Asking the host's DNS servers: the sockets and the time of a `Lookup`.

Each question has a socket of its own for each server, connected, with a port that the kernel picks at random,
and an id from the system's random source: what comes from elsewhere, has another id or repeats another
question is ignored (RFC 5452). A server that truncates its answer is asked again over TCP, if the guest asked
over TCP: over UDP it learns the same, and asks again itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import Callable
from functools import partial
from typing import cast

from wirebay.options.types import Address
from wirebay.services.dns_lookup import PATIENCE, Lookup, Upstreams
from wirebay.services.dns_message import (
    FORMAT_ERROR,
    NOT_IMPLEMENTED,
    REFUSED,
    SERVER_FAILURE,
    Query,
    belongs,
    is_truncated,
    rcode_of,
    with_id,
)

__all__ = ["Endpoint", "ask", "dns_port"]

Endpoint = Callable[[Address], tuple[str, int]]
REFUSALS = (FORMAT_ERROR, SERVER_FAILURE, NOT_IMPLEMENTED, REFUSED)


def dns_port(server: Address) -> tuple[str, int]:
    """Where a server listens."""
    return str(server), 53


async def ask(
    upstreams: Upstreams, query: Query, *, tcp: bool, endpoint: Endpoint = dns_port
) -> bytes | None:
    """The answer to `query`, with the query's own id; None when no server has one."""
    asking = _Asking(upstreams, query, tcp=tcp, endpoint=endpoint)
    try:
        answer = await asking.run()
    finally:
        await asking.close()
    return None if answer is None else with_id(answer, query.id)


class _Asking:
    """One lookup with its sockets. What they tell goes through one queue, as inputs of the machine."""

    def __init__(self, upstreams: Upstreams, query: Query, *, tcp: bool, endpoint: Endpoint) -> None:
        self._query = query
        self._tcp = tcp
        self._endpoint = endpoint
        self._lookup = Lookup(upstreams, time.monotonic())
        self._events: asyncio.Queue[Callable[[float], Address | None]] = asyncio.Queue()
        self._conversations: dict[Address, _Conversation] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._truncated: set[Address] = set()

    async def run(self) -> bytes | None:
        server = self._lookup.begin(time.monotonic())
        while not self._lookup.done:
            if server is not None:
                await self._ask(server)
            event = await self._event()
            server = event(time.monotonic())
        return self._lookup.answer

    async def close(self) -> None:
        for conversation in self._conversations.values():
            conversation.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _event(self) -> Callable[[float], Address | None]:
        delay = max(0.0, self._lookup.deadline - time.monotonic())
        try:
            return await asyncio.wait_for(self._events.get(), delay)
        except TimeoutError:
            return self._lookup.expire

    async def _ask(self, server: Address) -> None:
        conversation = self._conversations.get(server)
        if conversation is None:
            conversation = _Conversation(self._query, partial(self._heard, server))
            try:
                await asyncio.get_running_loop().create_datagram_endpoint(
                    lambda: conversation, remote_addr=self._endpoint(server)
                )
            except OSError:
                self._heard(server, None)
                return
            self._conversations[server] = conversation
        conversation.send()

    def _heard(self, server: Address, answer: bytes | None) -> None:
        """`server` answered over UDP; None: it cannot be reached."""
        if answer is not None and self._tcp and is_truncated(answer):
            if server in self._truncated:  # the same answer twice
                return
            self._truncated.add(server)
            task = asyncio.get_running_loop().create_task(self._ask_over_tcp(server))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        else:
            self._tell(server, answer)

    def _tell(self, server: Address, answer: bytes | None) -> None:
        if answer is None:
            self._events.put_nowait(partial(self._lookup.failed, server))
        elif rcode_of(answer) in REFUSALS:
            self._events.put_nowait(partial(self._lookup.refused, server, answer))
        else:
            self._events.put_nowait(partial(self._lookup.answered, server, answer))

    async def _ask_over_tcp(self, server: Address) -> None:
        answer = None
        with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
            async with asyncio.timeout(PATIENCE):
                answer = await self._exchange(server)
        self._tell(server, answer)

    async def _exchange(self, server: Address) -> bytes | None:
        reader, writer = await asyncio.open_connection(*self._endpoint(server))
        try:
            ident = secrets.randbits(16)
            question = with_id(self._query.data, ident)
            writer.write(len(question).to_bytes(2, "big") + question)
            answer = await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
            return answer if belongs(answer, self._query, ident) else None
        finally:
            writer.close()


class _Conversation(asyncio.DatagramProtocol):
    """One socket: a question to one server. `heard` is told its answer, or None when it cannot be reached."""

    def __init__(self, query: Query, heard: Callable[[bytes | None], None]) -> None:
        self._query = query
        self._heard = heard
        self._id = secrets.randbits(16)
        self._transport: asyncio.DatagramTransport | None = None

    def send(self) -> None:
        if self._transport is not None:
            self._transport.sendto(with_id(self._query.data, self._id))

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, _: object) -> None:
        if belongs(data, self._query, self._id):
            self._heard(data)

    def error_received(self, _: Exception) -> None:
        self._heard(None)
