"""Which ports go where: the order in which a set of them is opened, and what in it cannot be."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from wirebay.errors import OptionError
from wirebay.options.types import HubportOptions, Netdev, StreamOptions
from wirebay.ports.sockets import check

__all__ = ["contradictions", "has_hubports", "ordered"]


def ordered(netdevs: Sequence[Netdev]) -> list[Netdev]:
    """The order to open the ports in: hubports last, because they plug in others."""
    return sorted(netdevs, key=lambda netdev: isinstance(netdev, HubportOptions))


def has_hubports(netdevs: Sequence[Netdev]) -> bool:
    """Whether hubports say who is on which hub; else all ports are on one."""
    return any(isinstance(netdev, HubportOptions) for netdev in netdevs)


def contradictions(netdevs: Sequence[Netdev], others: Collection[str] = ()) -> Iterator[tuple[Netdev, str]]:
    """Ports that cannot be beside the others, each with QEMU's sentence.

    `others` are the ids of ports that are meant, though nothing else is known of them.
    """
    known: set[str] = set()
    for netdev in netdevs:
        if netdev.id in known:
            yield netdev, f"Duplicate ID '{netdev.id}' for netdev"
        known.add(netdev.id)
        if isinstance(netdev, StreamOptions):
            try:
                check(netdev.addr)
            except OptionError as error:
                yield netdev, str(error)
    yield from misplaced(netdevs, known.union(others))


def misplaced(netdevs: Sequence[Netdev], known: set[str]) -> Iterator[tuple[Netdev, str]]:
    """Hubports for ports that are not there, or are on a hub already."""
    plugged: dict[str, str] = {}
    for netdev in netdevs:
        if not isinstance(netdev, HubportOptions) or netdev.netdev is None:
            continue
        if netdev.netdev not in known:
            yield netdev, f"netdev '{netdev.netdev}' not found"
        elif other := plugged.get(netdev.netdev):
            yield netdev, f"netdev '{netdev.netdev}' is already on hubport '{other}'"
        plugged.setdefault(netdev.netdev, netdev.id)
