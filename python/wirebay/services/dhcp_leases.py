"""Which client has which address, and until when: the memory of the DHCP and the DHCPv6 server.

An address is in one of these states, told by its `Lease` and the time:

- no lease: never given to anybody
- offered: set aside for a client for a minute, in which it decides
- bound: given to a client until the lease ends
- lapsed: an offer, a binding or a block that is over. The client is remembered, so it gets the same address
  again unless that was needed for another one meanwhile
- blocked: somebody uses the address without having asked; given to nobody for a while

Some addresses are reserved: one client gets it and no other address, and nobody else does.

A client is a MAC address, as in QEMU. RFC 2131 lets a client id (option 61) come first, and RFC 8415 a DUID,
but a guest has several of them while it boots (firmware, initramfs, operating system), and a port forward to
the guest needs one address for all.

A client may have a name. Of two clients with one name the first keeps it.

The table holds one lease per address, of which there are as many as the pool and the reservations have, so no
guest can make it grow. `revision` changes with every binding.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from itertools import chain, islice
from typing import Generic, TypeVar

__all__ = ["BLOCK_TIME", "OFFER_TIME", "POOL_SIZE", "Binding", "LeaseTable", "pool_of"]

OFFER_TIME = 60.0  # seconds; clients answer an offer within ten
BLOCK_TIME = 600.0  # seconds; long enough for a person to find the intruder, short enough to heal by itself
POOL_SIZE = 256  # addresses; QEMU has 16, which is less than the guests that fit on one segment

A = TypeVar("A", IPv4Address, IPv6Address)


@dataclass(frozen=True, kw_only=True, slots=True)
class Binding(Generic[A]):
    """An address that was given to a client; `until` is on the caller's clock."""

    client: bytes
    address: A
    until: float
    name: str | None = None


@dataclass(slots=True)
class Lease:
    """`client` is a MAC address, None for a blocked address; `until` is on the caller's clock."""

    client: bytes | None
    until: float
    bound: bool = False
    name: str | None = None

    def end(self, now: float) -> None:
        """It is over, now if it was not before."""
        self.until = min(self.until, now)


def pool_of(first: A, last: A, taken: Iterable[A], size: int = POOL_SIZE) -> list[A]:
    """The addresses from `first` to `last`, at most `size`, without those that are taken."""
    kind, without = type(first), set(taken)
    addresses = map(kind, range(int(first), int(last) + 1))
    return list(islice((address for address in addresses if address not in without), size))


class LeaseTable(Generic[A]):
    """Leases for the addresses of `pool`, best first, and the reserved ones by client.

    Times are in seconds, on any clock.
    """

    def __init__(self, pool: Sequence[A], reserved: Mapping[bytes, A] | None = None) -> None:
        self._reserved: dict[bytes, A] = dict(reserved or {})
        self._owners: dict[A, bytes] = {address: client for client, address in self._reserved.items()}
        self._leases: dict[A, Lease | None] = dict.fromkeys(chain(self._owners, pool))
        self.revision = 0

    def choose(self, client: bytes, wish: A | None, now: float) -> A | None:
        """The address for `client`: its reserved one, else its wish if free, what it had, the first free.

        None if all are taken. Changes nothing.
        """
        if client in self._reserved:
            wish = self._reserved[client]
            return wish if self.is_free(wish, client, now) else None
        if wish is not None and self.is_free(wish, client, now):
            return wish
        return self._own(client) or self._first_free(now)

    def is_free(self, address: A, client: bytes, now: float) -> bool:
        """May `client` have `address`? It is in the pool or reserved for it, and nobody else holds it."""
        if address not in self._leases or self._reserved.get(client, address) != address:
            return False
        if self._owners.get(address, client) != client:
            return False
        lease = self._leases[address]
        return lease is None or lease.client == client or lease.until <= now

    def offer(self, client: bytes, address: A, now: float) -> None:
        """Set `address`, which is free, aside for `client`, instead of an older offer; a binding stays."""
        self.withdraw(client, now)
        lease = self._leases[address]
        if not (lease and lease.client == client and lease.bound and lease.until > now):
            self._leases[address] = Lease(client, now + OFFER_TIME)

    def bind(self, client: bytes, address: A, until: float, *, now: float, name: str | None = None) -> None:
        """Give `address`, which is free, to `client`, which lets go of any other: a client has one."""
        for other, _ in self._held_by(client):
            self._leases[other] = None
        self._leases[address] = Lease(client, until, bound=True)
        if name is not None and name not in self.names(now):
            self._leases[address] = Lease(client, until, bound=True, name=name)
        self.revision += 1

    def withdraw(self, client: bytes, now: float) -> None:
        """End the offers that `client` has not taken."""
        for _, lease in self._held_by(client):
            if not lease.bound:
                lease.end(now)

    def release(self, client: bytes, address: A, now: float) -> bool:
        """`client` gives `address` back. False if it does not hold it."""
        lease = self._leases.get(address)
        if lease is None or lease.client != client or lease.until <= now:
            return False
        lease.end(now)
        self.revision += 1
        return True

    def block(self, client: bytes, address: A, now: float) -> bool:
        """`client` found that somebody else uses `address`, so that nobody gets it for a while.

        False, and no block, if `client` does not hold it: a guest must not take addresses from others.
        """
        lease = self._leases.get(address)
        if lease is None or lease.client != client or lease.until <= now:
            return False
        self._leases[address] = Lease(None, now + BLOCK_TIME)
        self.revision += 1
        return True

    def bindings(self) -> Iterator[Binding[A]]:
        """All addresses that were given, those of lapsed leases too: these clients are remembered."""
        for address, lease in self._leases.items():
            if lease and lease.bound and lease.client is not None:
                yield Binding(client=lease.client, address=address, until=lease.until, name=lease.name)

    def names(self, now: float) -> dict[str, A]:
        """The names of the clients that have an address, and their addresses."""
        live = (binding for binding in self.bindings() if binding.until > now and binding.name)
        return {binding.name: binding.address for binding in live if binding.name}

    def restore(self, bindings: Iterable[Binding[A]], now: float) -> None:
        """Take up what `bindings` told another time; what does not fit this table is left out."""
        for binding in bindings:
            if self.is_free(binding.address, binding.client, now):
                self.bind(binding.client, binding.address, binding.until, now=now, name=binding.name)

    def _own(self, client: bytes) -> A | None:
        """What `client` has or last had; what it is bound to before what it was offered."""
        own = [(lease.bound, lease.until, address) for address, lease in self._held_by(client)]
        return max(own)[2] if own else None

    def _held_by(self, client: bytes) -> list[tuple[A, Lease]]:
        return [(a, lease) for a, lease in self._leases.items() if lease and lease.client == client]

    def _first_free(self, now: float) -> A | None:
        lapsed: list[tuple[float, A]] = []
        for address, lease in self._leases.items():
            if address in self._owners:
                continue
            if lease is None:
                return address
            if lease.until <= now:
                lapsed.append((lease.until, address))
        return min(lapsed)[1] if lapsed else None
