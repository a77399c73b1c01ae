"""Which client has which address, and until when: the memory of the DHCP server.

An address is in one of these states, told by its `Lease` and the time:

- no lease: never given to anybody
- offered: set aside for a client for a minute, in which it decides
- bound: given to a client until the lease ends
- lapsed: an offer, a binding or a block that is over. The client is remembered, so it gets the same address
  again unless that was needed for another one meanwhile
- blocked: somebody uses the address without having asked; given to nobody for a while

A client is a MAC address, as in QEMU. RFC 2131 lets a client id (option 61) come first, but a guest has
several of them while it boots (firmware, initramfs, operating system), and a port forward to the guest
needs one address for all.

The table holds one lease per address of the pool, so no guest can make it grow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address

__all__ = ["BLOCK_TIME", "OFFER_TIME", "LeaseTable"]

OFFER_TIME = 60.0  # seconds; clients answer an offer within ten
BLOCK_TIME = 600.0  # seconds; long enough for a person to find the intruder, short enough to heal by itself


@dataclass(slots=True)
class Lease:
    """`client` is a MAC address, None for a blocked address; `until` is on the caller's clock."""

    client: bytes | None
    until: float
    bound: bool = False

    def end(self, now: float) -> None:
        """It is over, now if it was not before."""
        self.until = min(self.until, now)


class LeaseTable:
    """Leases for the addresses of `pool`, best first. Times are in seconds, on any clock."""

    def __init__(self, pool: Sequence[IPv4Address]) -> None:
        self._leases: dict[IPv4Address, Lease | None] = dict.fromkeys(pool)

    def choose(self, client: bytes, wish: IPv4Address | None, now: float) -> IPv4Address | None:
        """The address to give to `client`: its wish if free, else what it had, else the first free one.

        None if all are taken. Changes nothing.
        """
        if wish is not None and self.is_free(wish, client, now):
            return wish
        return self._own(client) or self._first_free(now)

    def is_free(self, address: IPv4Address, client: bytes, now: float) -> bool:
        """May `client` have `address`? It is in the pool, and nobody else holds it."""
        if address not in self._leases:
            return False
        lease = self._leases[address]
        return lease is None or lease.client == client or lease.until <= now

    def offer(self, client: bytes, address: IPv4Address, now: float) -> None:
        """Set `address`, which is free, aside for `client`, instead of an older offer; a binding stays."""
        self.withdraw(client, now)
        lease = self._leases[address]
        if not (lease and lease.client == client and lease.bound and lease.until > now):
            self._leases[address] = Lease(client, now + OFFER_TIME)

    def bind(self, client: bytes, address: IPv4Address, until: float) -> None:
        """Give `address`, which is free, to `client`, which lets go of any other: a client has one."""
        for other, _ in self._held_by(client):
            self._leases[other] = None
        self._leases[address] = Lease(client, until, bound=True)

    def bound(self, now: float) -> list[tuple[IPv4Address, bytes, float]]:
        """Every address that is given away: to which client, and until when."""
        return [
            (address, lease.client, lease.until)
            for address, lease in self._leases.items()
            if lease and lease.client and lease.bound and lease.until > now
        ]

    def withdraw(self, client: bytes, now: float) -> None:
        """End the offers that `client` has not taken."""
        for _, lease in self._held_by(client):
            if not lease.bound:
                lease.end(now)

    def release(self, client: bytes, address: IPv4Address, now: float) -> bool:
        """`client` gives `address` back. False if it does not hold it."""
        lease = self._leases.get(address)
        if lease is None or lease.client != client or lease.until <= now:
            return False
        lease.end(now)
        return True

    def block(self, client: bytes, address: IPv4Address, now: float) -> bool:
        """`client` found that somebody else uses `address`, so that nobody gets it for a while.

        False, and no block, if `client` does not hold it: a guest must not take addresses from others.
        """
        lease = self._leases.get(address)
        if lease is None or lease.client != client or lease.until <= now:
            return False
        self._leases[address] = Lease(None, now + BLOCK_TIME)
        return True

    def _own(self, client: bytes) -> IPv4Address | None:
        """What `client` has or last had; what it is bound to before what it was offered."""
        own = [(lease.bound, lease.until, address) for address, lease in self._held_by(client)]
        return max(own)[2] if own else None

    def _held_by(self, client: bytes) -> list[tuple[IPv4Address, Lease]]:
        return [(a, lease) for a, lease in self._leases.items() if lease and lease.client == client]

    def _first_free(self, now: float) -> IPv4Address | None:
        lapsed: list[tuple[float, IPv4Address]] = []
        for address, lease in self._leases.items():
            if lease is None:
                return address
            if lease.until <= now:
                lapsed.append((lease.until, address))
        return min(lapsed)[1] if lapsed else None
