"""guestfwd over UDP: datagrams of the guests to an address of their network go to a server of this host.

Each address and port of a guest has a socket of its own, connected to the server, so that the server's
answers find back. A conversation that is silent for four minutes ends, as those of the translation do;
where there are too many, the one that was silent longest gives way."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import Counter
from typing import cast

from wirebay.errors import HostError
from wirebay.options.types import Address, GuestForward, InetAddr, InetTarget, UnixTarget
from wirebay.ports.sockets import resolve
from wirebay.services.channel import Datagram, ServiceChannel

__all__ = ["UdpForward"]

MAX_CONVERSATIONS = 128
IDLE = 240.0  # seconds
MAX_EARLY = 16  # datagrams kept while the server's name is resolved

logger = logging.getLogger("wirebay")

Key = tuple[bytes, Address, int]


class UdpForward:
    """One rule. `drops` counts the datagrams that did not reach the server, by reason."""

    def __init__(self, rule: GuestForward, channel: ServiceChannel) -> None:
        self.drops: Counter[str] = Counter()
        self._rule = rule
        self._channel = channel
        # The one that was silent longest comes first.
        self._conversations: dict[Key, _Conversation] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._complained = False

    def handle(self, datagram: Datagram) -> list[Datagram]:
        """The handler for the service channel."""
        key = (datagram.mac, datagram.source, datagram.source_port)
        conversation = self._conversations.pop(key, None)
        if conversation is None:
            if len(self._conversations) >= MAX_CONVERSATIONS:
                self._end(next(iter(self._conversations)))
            conversation = _Conversation(self, key, datagram)
            task = asyncio.get_running_loop().create_task(self._open(conversation))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        self._conversations[key] = conversation
        conversation.send(datagram.payload)
        return []

    async def close(self) -> None:
        """End all conversations."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        for key in list(self._conversations):
            self._end(key)

    def give_back(self, datagram: Datagram) -> None:
        """The server answered."""
        self._complained = False
        self._channel.send(datagram)

    def complain(self, reason: str) -> None:
        """The server cannot be reached: one sentence until it answers."""
        self.drops["unreachable"] += 1
        if not self._complained:
            self._complained = True
            logger.warning("guest forwarding rule '%s': %s", self._rule.text, reason)

    def is_idle(self, key: Key) -> None:
        """A conversation was silent for too long."""
        self._end(key)

    async def _open(self, conversation: _Conversation) -> None:
        try:
            sock = await connected(self._rule.target)
        except HostError as error:
            self.complain(str(error))
            self._end(conversation.key)
            return
        if self._conversations.get(conversation.key) is not conversation:
            sock.close()  # it gave way meanwhile
            return
        await asyncio.get_running_loop().create_datagram_endpoint(lambda: conversation, sock=sock)

    def _end(self, key: Key) -> None:
        conversation = self._conversations.pop(key, None)
        if conversation is not None:
            conversation.close()


class _Conversation(asyncio.DatagramProtocol):
    """One port of a guest and its socket."""

    def __init__(self, forward: UdpForward, key: Key, first: Datagram) -> None:
        self.key = key
        self._forward = forward
        self._first = first
        self._early: list[bytes] = []
        self._paused = False
        self._transport: asyncio.DatagramTransport | None = None
        self._timer = self._rearm()

    def send(self, payload: bytes) -> None:
        self._heard()
        if self._paused:
            self._forward.drops["server_too_slow"] += 1
        elif self._transport is not None:
            self._transport.sendto(payload)
        elif len(self._early) < MAX_EARLY:
            self._early.append(payload)
        else:
            self._forward.drops["too_early"] += 1

    def close(self) -> None:
        self._timer.cancel()
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)
        for payload in self._early:
            self._transport.sendto(payload)
        self._early.clear()

    def pause_writing(self) -> None:
        """The server takes nothing, as one behind a unix socket may; asyncio would keep it all."""
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False

    def datagram_received(self, data: bytes, _: object) -> None:
        self._heard()
        self._forward.give_back(self._first.answer(data))

    def error_received(self, exc: Exception) -> None:
        self._forward.complain(f"the server cannot be reached: {getattr(exc, 'strerror', exc)}")

    def _heard(self) -> None:
        self._timer.cancel()
        self._timer = self._rearm()

    def _rearm(self) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(IDLE, self._forward.is_idle, self.key)


async def connected(target: object) -> socket.socket:
    """A datagram socket connected to a target. Raises HostError."""
    if isinstance(target, UnixTarget):
        # Bound to a name of the kernel's choice, or the server could not answer.
        return _connected(socket.AF_UNIX, target.path, target.path, bind=b"")
    assert isinstance(target, InetTarget), "the grammar allows no others"
    address = InetAddr(host=target.host, port=str(target.port))
    family, name = (await resolve(address, 0))[0]
    return _connected(family, name, f"{target.host}:{target.port}")


def _connected(
    family: int, name: str | tuple[object, ...], text: str, bind: bytes | None = None
) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        if bind is not None:
            sock.bind(bind)
        sock.connect(name)
    except OSError as error:
        sock.close()
        raise HostError(f"Failed to connect to '{text}': {error.strerror}") from error
    return sock
