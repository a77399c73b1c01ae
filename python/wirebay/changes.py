"""What differs between two descriptions of a network."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from wirebay.options.chardev import ChardevOptions
from wirebay.options.objects import FilterOptions
from wirebay.options.types import Netdev, UserOptions
from wirebay.wiring import PLACES, Description, Named, chardevs_of

__all__ = ["Changes", "Diff", "Present", "compare"]

Options = TypeVar("Options", bound=Named)


@dataclass(frozen=True, kw_only=True, slots=True)
class Diff(Generic[Options]):
    """What to open, what to close, and what to close and open anew, because its options are others."""

    added: tuple[Options, ...] = ()
    removed: tuple[Options, ...] = ()
    replaced: tuple[Options, ...] = ()

    @property
    def fresh(self) -> set[str]:
        """The ids of what is opened, anew or for the first time."""
        return {options.id for options in (*self.added, *self.replaced)}

    @property
    def old(self) -> list[str]:
        """The ids of what is closed."""
        return [options.id for options in (*self.removed, *self.replaced)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Changes:
    """What differs; `updated` are user networks of which the forwards alone do."""

    netdevs: Diff[Netdev]
    chardevs: Diff[ChardevOptions]
    objects: Diff[FilterOptions]
    updated: tuple[UserOptions, ...] = ()

    def ids(self) -> dict[str, list[str]]:
        """The same by ids: `added`, `removed`, `replaced`, `updated`."""
        kinds: list[Diff[Named]] = [self.netdevs, self.chardevs, self.objects]  # type: ignore[list-item]
        return {
            "added": [options.id for diff in kinds for options in diff.added],
            "removed": [options.id for diff in kinds for options in diff.removed],
            "replaced": [options.id for diff in kinds for options in diff.replaced],
            "updated": [options.id for options in self.updated],
        }

    def __bool__(self) -> bool:
        return any(self.ids().values())

    def __str__(self) -> str:
        words = {"added": "opened", "removed": "closed", "replaced": "reopened", "updated": "rules of"}
        told = [f"{words[kind]} {', '.join(names)}" for kind, names in self.ids().items() if names]
        return "; ".join(told) or "nothing has changed"

    def closes_any(self) -> bool:
        """Whether something that is there is closed."""
        return bool(self.netdevs.old or self.chardevs.old or self.objects.old)


@dataclass(frozen=True, kw_only=True, slots=True)
class Present:
    """The ids of what is there: some may have gone by themselves, or through control."""

    netdevs: Collection[str]
    chardevs: Collection[str] = ()
    objects: Collection[str] = ()


def compare(old: Description, new: Description, present: Present) -> Changes:
    """What makes `new` of `old`. What stands on something that is opened anew is opened anew with it."""
    before = {netdev.id: netdev for netdev in old.netdevs if netdev.id in present.netdevs}
    updated = tuple(differing_in_rules(before, new.netdevs))
    whole = [netdev for netdev in new.netdevs if netdev not in updated]
    first = diff(old.netdevs, whole, present.netdevs, lambda _: False)
    netdevs = diff(
        old.netdevs, whole, present.netdevs, lambda one: isinstance(one, PLACES) and one.netdev in first.fresh
    )
    kept = {netdev.id for netdev in updated}
    netdevs = replace(netdevs, removed=tuple(one for one in netdevs.removed if one.id not in kept))
    chardevs = diff(old.chardevs, new.chardevs, present.chardevs, lambda _: False)
    objects = diff(
        old.objects,
        new.objects,
        present.objects,
        lambda one: (
            one.netdev in netdevs.fresh or any(name in chardevs.fresh for _, name in chardevs_of(one))
        ),
    )
    return Changes(netdevs=netdevs, chardevs=chardevs, objects=objects, updated=updated)


def diff(
    old: Sequence[Options], new: Sequence[Options], present: Collection[str], stale: Callable[[Options], bool]
) -> Diff[Options]:
    """What differs; what is `stale` is opened anew though its options are the same."""
    before = {options.id: options for options in old if options.id in present}
    wanted = {options.id for options in new}
    return Diff(
        added=tuple(options for options in new if options.id not in before),
        removed=tuple(options for name, options in before.items() if name not in wanted),
        replaced=tuple(
            options
            for options in new
            if options.id in before and (options != before[options.id] or stale(options))
        ),
    )


def differing_in_rules(before: dict[str, Netdev], new: Sequence[Netdev]) -> Iterator[UserOptions]:
    """The user networks of which the forwards differ, and nothing else does."""
    for options in new:
        old = before.get(options.id)
        if not isinstance(options, UserOptions) or not isinstance(old, UserOptions) or old == options:
            continue
        if replace(old, hostfwd=options.hostfwd, guestfwd=options.guestfwd) == options:
            yield options
