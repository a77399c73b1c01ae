"""What a network is to have, as a whole: its ports, and the filters on them; and what in that cannot be."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from wirebay.errors import OptionError
from wirebay.options.chardev import ChardevOptions
from wirebay.options.objects import FilterOptions, MirrorOptions, RedirectorOptions
from wirebay.options.types import HubportOptions, Netdev, StreamOptions, SwitchportOptions
from wirebay.ports.sockets import check

__all__ = ["PLACES", "Description", "Named", "chardevs_of", "contradictions", "has_places", "ordered"]

#: Ports that are only a place on a segment for another one.
PLACES = (HubportOptions, SwitchportOptions)
NO_PORT = "Parameter 'netdev' expects a network backend id"


class Named(Protocol):
    """Options with an id."""

    @property
    def id(self) -> str:
        """The id."""


Options = TypeVar("Options", bound=Named)
Told = Iterator[tuple[Named, str]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Description:
    """Ports, and the filters on them with their connections."""

    netdevs: tuple[Netdev, ...] = ()
    chardevs: tuple[ChardevOptions, ...] = ()
    objects: tuple[FilterOptions, ...] = ()


def ordered(netdevs: Sequence[Netdev]) -> list[Netdev]:
    """The order to open ports in: places on segments last, because they plug in others."""
    return sorted(netdevs, key=lambda netdev: isinstance(netdev, PLACES))


def has_places(netdevs: Sequence[Netdev]) -> bool:
    """Whether hubports and switchports say who is on which segment; else all ports are on one hub."""
    return any(isinstance(netdev, PLACES) for netdev in netdevs)


def contradictions(whole: Description, others: Mapping[str, Collection[str]] | None = None) -> Told:
    """What cannot be beside the rest, each with QEMU's sentence.

    `others` are ids of things that are meant, by the option's name, though nothing else is known of them.
    """
    known = {
        word: {options.id for options in given}.union((others or {}).get(word, ()))
        for word, given in (("netdev", whole.netdevs), ("chardev", whole.chardevs), ("object", whole.objects))
    }
    yield from repeated("netdev", whole.netdevs)
    yield from unusable(whole.netdevs)
    yield from misplaced(whole.netdevs, known["netdev"])
    yield from repeated("chardev", whole.chardevs)
    yield from repeated("object", whole.objects)
    places = {netdev.id for netdev in whole.netdevs if isinstance(netdev, PLACES)}
    for options in whole.objects:
        if options.netdev not in known["netdev"] - places:
            yield options, NO_PORT
        if options.position not in ("head", "tail") and options.position not in known["object"]:
            yield options, f"filter '{options.position}' not found"
        for what, name in chardevs_of(options):
            if name not in known["chardev"]:
                yield options, f"{what} '{name}' not found"


def repeated(word: str, given: Sequence[Named]) -> Told:
    """Ids that are given twice."""
    seen: set[str] = set()
    for options in given:
        if options.id in seen:
            yield options, f"Duplicate ID '{options.id}' for {word}"
        seen.add(options.id)


def unusable(netdevs: Sequence[Netdev]) -> Told:
    """Addresses that no host could take."""
    for netdev in netdevs:
        if isinstance(netdev, StreamOptions):
            try:
                check(netdev.addr)
            except OptionError as error:
                yield netdev, str(error)


def misplaced(netdevs: Sequence[Netdev], known: Collection[str]) -> Told:
    """Places for ports that are not there, or have a place already."""
    plugged: dict[str, str] = {}
    for place in netdevs:
        if not isinstance(place, PLACES) or place.netdev is None:
            continue
        if place.netdev not in known:
            yield place, f"netdev '{place.netdev}' not found"
        elif other := plugged.get(place.netdev):
            yield place, f"netdev '{place.netdev}' is already on {other}"
        kind = "hubport" if isinstance(place, HubportOptions) else "switchport"
        plugged.setdefault(place.netdev, f"{kind} '{place.id}'")


def chardevs_of(options: FilterOptions) -> list[tuple[str, str]]:
    """The chardevs that a filter uses, each with what QEMU calls it."""
    if isinstance(options, MirrorOptions):
        return [("Device", options.outdev)]
    if isinstance(options, RedirectorOptions):
        ends = (("IN Device", options.indev), ("OUT Device", options.outdev))
        return [(what, name) for what, name in ends if name is not None]
    return []
