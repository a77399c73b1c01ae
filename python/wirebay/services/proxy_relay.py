"""Forwards with the PROXY protocol: Python accepts, reads or writes the header, and hands the rest over.

Theory of operation
===================

A listener of `hostfwd` with `+proxy-in` or `+proxy-out` stays here instead of in the worker. For each
connection that is accepted:

    proxy-in   the header is read, and not a byte of what follows; the client is the one that it names
    proxy-out  the guest gets a header of version 2 first. As nothing can be put before what a socket has
               received, the worker gets one end of a pair, whose other end is relayed to the client here
    both       the header that came in is told on
    then       `forward_accept` brings the socket to the guest, as if it came from the client

So with proxy-in alone bytes move in the worker, as with any forward; proxy-out costs a copy through Python.

A client has `PATIENCE` seconds for its header, and headers being read are bounded: the client that has waited
longest gives way. A bad header ends its connection; that is counted, and told once for each forward.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from ipaddress import IPv6Address, ip_address

from wirebay.errors import WirebayError
from wirebay.options.types import Address, HostForward
from wirebay.ports.sockets import accept
from wirebay.services.proxy import Peers, ProxyError, decode, encode, missing

__all__ = ["HandOver", "ProxyForward"]

PATIENCE = 5.0  # seconds
MAX_READING = 128
MAX_RELAYED = 1024
PAUSE = 0.1  # seconds before another attempt when the host is out of descriptors
_CHUNK = 1 << 18

logger = logging.getLogger("wirebay")

# Gives the worker a connected socket, with where it says it comes from.
HandOver = Callable[[socket.socket, Address, int], Awaitable[None]]


class ProxyForward:
    """One listening socket of a rule, which is taken over; in `drops` what is ended is counted, by reason.

    `serve` runs until it is cancelled, and then ends its relays; `close` closes the listener.
    """

    def __init__(
        self, listener: socket.socket, rule: HostForward, hand_over: HandOver, drops: Counter[str]
    ) -> None:
        self.drops = drops
        self._listener = listener
        self._rule = rule
        self._hand_over = hand_over
        self._reading: dict[asyncio.Task[None], None] = {}  # the one that has waited longest comes first
        self._relays: set[asyncio.Task[None]] = set()
        self._complained = False

    async def serve(self) -> None:
        """Accept connections."""
        try:
            while True:
                await self._accept_one()
        finally:
            tasks = [*self._reading, *self._relays]
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks)

    def close(self) -> None:
        """Close the listener."""
        self._listener.close()

    async def _accept_one(self) -> None:
        try:
            client = await accept(self._listener)
        except OSError:
            await asyncio.sleep(PAUSE)
            return
        client.setblocking(False)
        if len(self._reading) >= MAX_READING:
            self.drops["too_many"] += 1
            next(iter(self._reading)).cancel()
        task = asyncio.get_running_loop().create_task(self._take(client))
        self._reading[task] = None
        task.add_done_callback(lambda done: self._reading.pop(done, None))
        task.add_done_callback(partial(_close, client))

    async def _take(self, client: socket.socket) -> None:
        """Bring one connection to the guest."""
        with contextlib.suppress(OSError, WirebayError):
            peers = peers_of(client)
            if self._rule.proxy_in:
                try:
                    peers = await self._header(client) or peers
                except (ProxyError, TimeoutError) as error:
                    self._complain(error)
                    return
            if self._rule.proxy_out:
                await self._relay(client, peers)
            else:
                await self._bring(client, peers)

    async def _header(self, client: socket.socket) -> Peers | None:
        async with asyncio.timeout(PATIENCE):
            return decode(await read_header(client))

    async def _bring(self, sock: socket.socket, peers: Peers | None) -> None:
        # A client on a unix socket has no address: the worker shows 0.0.0.0 as its network's host.
        source = peers.source if peers else ip_address("0.0.0.0")  # noqa: S104 - nothing is bound to it
        await self._hand_over(sock, source, peers.source_port if peers else 0)

    async def _relay(self, client: socket.socket, peers: Peers | None) -> None:
        if len(self._relays) >= MAX_RELAYED:
            self.drops["too_many"] += 1
            return
        far, near = socket.socketpair()
        with far:
            near.setblocking(False)
            near.send(encode(peers))
            try:
                await self._bring(far, peers)
            except BaseException:
                near.close()
                raise
        kept = client.dup()
        task = asyncio.get_running_loop().create_task(relay(kept, near))
        self._relays.add(task)
        task.add_done_callback(self._relays.discard)
        for sock in (kept, near):
            task.add_done_callback(partial(_close, sock))

    def _complain(self, error: ProxyError | TimeoutError) -> None:
        slow = isinstance(error, TimeoutError)
        self.drops["slow_header" if slow else "bad_header"] += 1
        if not self._complained:
            self._complained = True
            reason = f"it did not come in {PATIENCE:g} s" if slow else str(error)
            logger.warning(
                "host forwarding rule '%s': connections without a PROXY header are ended (%s)",
                self._rule.text,
                reason,
            )


async def read_header(client: socket.socket) -> bytes:
    """Read a PROXY header, and not a byte of what follows. Raises ProxyError, OSError."""
    head = b""
    while more := missing(head):
        piece = await asyncio.get_running_loop().sock_recv(client, more)
        if not piece:
            raise ProxyError("the connection ended before it was whole")
        head += piece
    return head


def peers_of(client: socket.socket) -> Peers | None:
    """Both ends of an accepted connection; None for a unix socket. Raises OSError."""
    if client.family == socket.AF_UNIX:
        return None
    source, destination = client.getpeername(), client.getsockname()
    return Peers(
        source=_address(source[0]),
        destination=_address(destination[0]),
        source_port=source[1],
        destination_port=destination[1],
    )


def _address(text: str) -> Address:
    address = ip_address(text.partition("%")[0])
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def _close(sock: socket.socket, _: object) -> None:
    """Close a socket at the end of the task that has it, even if that was cancelled before it began."""
    sock.close()


async def relay(client: socket.socket, near: socket.socket) -> None:
    """Copy both ways until both are at their end, or one fails."""
    tasks = [asyncio.ensure_future(way) for way in (copy(client, near), copy(near, client))]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def copy(source: socket.socket, target: socket.socket) -> None:
    """Copy until the end of `source`, and pass the end on."""
    loop = asyncio.get_running_loop()
    while data := await loop.sock_recv(source, _CHUNK):
        await loop.sock_sendall(target, data)
    target.shutdown(socket.SHUT_WR)
