"""What is known of the guests of a user network: who has a lease, and whether they answer a ping.

The worker sends the echo requests and tells of the answers; here the two are paired.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from ipaddress import IPv4Address, ip_address
from itertools import count
from typing import TYPE_CHECKING, Any

from wirebay.errors import HostError, OptionError

if TYPE_CHECKING:
    from wirebay.worker import Worker

__all__ = [
    "PAYLOAD",
    "PING_TIMEOUT",
    "Lease",
    "NoAnswerError",
    "Pinger",
    "Pong",
    "checked_address",
    "mac_text",
]

PING_TIMEOUT = 1.0  # seconds; a guest is not far away
PAYLOAD = 56  # bytes, as ping(8) sends


@dataclass(frozen=True, slots=True)
class Lease:
    """A DHCP lease: the client's MAC address, what it got, and for how many seconds more (inf: for ever)."""

    mac: str
    address: IPv4Address
    seconds: float


def mac_text(mac: bytes) -> str:
    """A MAC address as it is written."""
    return mac.hex(":")


def checked_address(text: str) -> str:
    """An address as the worker spells it. Raises OptionError if it is none."""
    try:
        return str(ip_address(text))
    except ValueError:
        raise OptionError(f"'{text}' is not an IP address") from None


@dataclass(frozen=True, slots=True)
class Pong:
    """A guest's answer: from where, after how many seconds, with which TTL left."""

    address: str
    seconds: float
    ttl: int


class NoAnswerError(HostError):
    """A guest did not answer in time."""


class Pinger:
    """The pings of one user network. Answers nobody waits for, late or invented by a guest, are ignored."""

    def __init__(self, port: str) -> None:
        self._port = port
        self._numbers = count()
        self._waiting: dict[tuple[str, int, int], asyncio.Future[int]] = {}

    async def ping(self, worker: Worker, address: str, within: float, size: int) -> Pong:
        """One echo request of `size` bytes. Raises NoAnswerError when none comes `within` so many seconds."""
        loop = asyncio.get_running_loop()
        # Each has a number of its own, so that a late answer is never taken for a new one's.
        ident, seq = divmod(next(self._numbers) & 0xFFFFFFFF, 1 << 16)
        ticket = (address, ident, seq)
        answer = self._waiting[ticket] = loop.create_future()
        start = loop.time()
        try:
            await worker.call("guest_ping", port=self._port, addr=address, ident=ident, seq=seq, size=size)
            ttl = await asyncio.wait_for(answer, within)
        except TimeoutError:
            raise NoAnswerError(f"the guest at {address} did not answer a ping within {within:g} s") from None
        finally:
            del self._waiting[ticket]
        return Pong(address, loop.time() - start, ttl)

    def on_pong(self, event: dict[str, Any]) -> None:
        """The worker's event `pong`."""
        match event:
            case {"addr": str(address), "ident": int(ident), "seq": int(seq), "ttl": int(ttl)}:
                answer = self._waiting.get((address, ident, seq))
                if answer is not None and not answer.done():
                    answer.set_result(ttl)
