"""What is known of the guests of a user network: who has a lease, and whether they answer a ping.

The worker sends the echo requests and tells of the answers; here the two are paired.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from ipaddress import ip_address
from itertools import count
from typing import TYPE_CHECKING, Any

from wirebay.errors import HostError, OptionError

if TYPE_CHECKING:
    from wirebay.ports.base import Port
    from wirebay.services.address_service import AddressService, Lease

__all__ = ["PAYLOAD", "PING_TIMEOUT", "Guests", "NoAnswerError", "Pong"]

PING_TIMEOUT = 1.0  # seconds; a guest is not far away
PAYLOAD = 56  # bytes, as ping(8) sends
MAX_IDENT = 0xFFFF


def ping_numbers(number: int) -> tuple[int, int]:
    """Identifier and sequence number of the ping of that number, so that a late answer is not taken for a new
    one's.

    The identifier is never 0: Linux answers a message of nothing but zeros with a checksum that is wrong.
    """
    return number // (1 << 16) % MAX_IDENT + 1, number % (1 << 16)


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


class Guests:
    """The guests of one user network.

    Answers nobody waits for, late or invented by a guest, are ignored.
    """

    def __init__(self, port: Port, addresses: AddressService) -> None:
        self._port = port
        self._addresses = addresses
        self._numbers = count()
        self._waiting: dict[tuple[str, int, int], asyncio.Future[int]] = {}
        addresses.on_lease = self._tell_lease

    def _tell_lease(self, lease: Lease) -> None:
        data = {"mac": lease.mac.hex(":"), "address": str(lease.address), "name": lease.name}
        self._port.network.tell("WIREBAY_LEASE", {"netdev-id": self._port.id, **data})

    async def ping(self, address: str | None, within: float, size: int) -> Pong:
        """Ping `address` or the only guest. Raises OptionError where that is none, NoAnswerError."""
        target = self._only() if address is None else checked_address(address)
        try:
            async with asyncio.timeout(within):
                return await self._ping(target, size)
        except TimeoutError:
            raise NoAnswerError(f"the guest at {target} did not answer a ping within {within:g} s") from None

    async def _ping(self, address: str, size: int) -> Pong:
        loop = asyncio.get_running_loop()
        ident, seq = ping_numbers(next(self._numbers))
        ticket = (address, ident, seq)
        answer = self._waiting[ticket] = loop.create_future()
        start = loop.time()
        try:
            await self._port.network.worker.call(
                "guest_ping", port=self._port.id, addr=address, ident=ident, seq=seq, size=size
            )
            return Pong(address, ttl=await answer, seconds=loop.time() - start)
        finally:
            del self._waiting[ticket]

    def on_pong(self, event: dict[str, Any]) -> None:
        """The worker's event `pong`."""
        match event:
            case {"addr": str(address), "ident": int(ident), "seq": int(seq), "ttl": int(ttl)}:
                answer = self._waiting.get((address, ident, seq))
                if answer is not None and not answer.done():
                    answer.set_result(ttl)

    def _only(self) -> str:
        leases = self._addresses.leases
        if len({lease.mac for lease in leases}) > 1:
            names = ", ".join(str(lease.address) for lease in leases)
            raise OptionError(f"user network '{self._port.id}' has several guests; name one of {names}")
        return str(leases[0].address if leases else self._addresses.first_address)
