"""A network that is described as a whole, and changed into another with as little as can be.

Theory. `Layout.apply` compares what it opened last time with what is wanted (`changes.py`). What has equal
options is not touched, whatever has become of it through control meanwhile; of a user network whose forwards
alone differ those are changed; all other differences close a thing and open it anew, and with it what stands
on it: a port's place and filters, a chardev's filters. What others opened is none of its business.

It is done so that mistakes leave everything as it was: what is new is opened first, and each step has its
undoing in a journal. Where something new needs what something old still holds, an address, that fails; then
it is undone, and done once more with the old things closed first. Only then can an undoing cost anything: a
port that was closed is opened again, but the connections through it are gone.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Container, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from wirebay.changes import Changes, Present, compare
from wirebay.errors import OptionError, WirebayError, WorkerError
from wirebay.options.types import Netdev, UserOptions
from wirebay.segments import PLACES as PLACE_KINDS
from wirebay.teardown import Teardown
from wirebay.wiring import PLACES, Description, chardevs_of, contradictions, has_places, ordered

if TYPE_CHECKING:
    from wirebay.filters import Filter
    from wirebay.network import Network
    from wirebay.options.chardev import ChardevOptions
    from wirebay.options.objects import FilterOptions
    from wirebay.ports import Port
    from wirebay.segments import Hub

__all__ = ["Layout"]

logger = logging.getLogger("wirebay")


class Layout:
    """What is described as a whole; `current` is the description."""

    def __init__(self, network: Network) -> None:
        self.current = Description()
        self.network = network
        self._shared: Hub | None = None
        self._changing = asyncio.Lock()

    async def apply(self, wanted: Description) -> Changes:
        """Make the network be this; returns what was changed.

        Raises OptionError where things contradict each other or an id is taken, HostError when one cannot be
        opened; everything is as before then.
        """
        async with self._changing:
            for _, sentence in contradictions(wanted):
                raise OptionError(sentence)
            changes = compare(self.current, wanted, self._present())
            run = _Run(self, changes, wanted)
            try:
                await self._try(run)
            except WorkerError:
                raise
            except WirebayError:
                if run.has_closed or not changes.closes_any():
                    raise
                await self._try(_Run(self, changes, wanted, old_first=True))
            self.current = wanted
            return changes

    def _present(self) -> Present:
        objects = self.network.objects
        return Present(netdevs=self.network.ports, chardevs=objects.chardevs, objects=objects.filters)

    async def _try(self, run: _Run) -> None:
        try:
            await run.carry_out()
        except WorkerError:
            raise
        except WirebayError:
            for problem in await run.journal.run():
                logger.warning("not everything is as it was: %s", problem)
            raise

    async def share_hub(self, ports: Sequence[Port]) -> None:
        """Plug ports into the hub of all, for where no place says otherwise."""
        if self._shared is None or self.network.hubs.get(self._shared.name) is not self._shared:
            self._shared = await self.network.join(*ports)
            return
        for port in ports:
            await self._shared.join(port)

    def on_shared_hub(self) -> list[Port]:
        """The ports that are on that hub."""
        return self._shared.ports if self._shared else []


class _Run:
    """One attempt. `journal` undoes what was done so far; `has_closed` tells whether old things have gone."""

    def __init__(
        self, layout: Layout, changes: Changes, wanted: Description, *, old_first: bool = False
    ) -> None:
        self.journal = Teardown()
        self.has_closed = False
        self._layout = layout
        self._network = layout.network
        self._objects = layout.network.objects
        self._changes = changes
        self._wanted = wanted
        self._old_first = old_first
        self._before = layout.current

    async def carry_out(self) -> None:
        changes = self._changes
        late = changes.netdevs.fresh | changes.chardevs.fresh  # what stands on these comes after them
        filters = [*changes.objects.added, *changes.objects.replaced]
        waiting = [one for one in filters if one.id in changes.objects.old or stands_on(one, late)]
        await self._close_ports([name for name in changes.netdevs.old if self._is_place(name)])
        if has_places(self._wanted.netdevs):
            await self._empty_shared_hub()
        if self._old_first:
            await self._close_old()
        for options in changes.updated:
            await self._update(options)
        await self._open_ports([one for one in changes.netdevs.added if not isinstance(one, PLACES)])
        await self._open_chardevs(changes.chardevs.added)
        await self._open_filters([one for one in filters if one not in waiting])
        self.has_closed = True
        await self._close_old()
        await self._open_ports(ordered(changes.netdevs.replaced))
        await self._open_ports([one for one in changes.netdevs.added if isinstance(one, PLACES)])
        await self._open_chardevs(changes.chardevs.replaced)
        await self._open_filters(waiting)
        if not has_places(self._wanted.netdevs):
            await self._plug_in()

    def _is_place(self, name: str) -> bool:
        return self._network.ports[name].kind in PLACE_KINDS

    async def _update(self, options: UserOptions) -> None:
        from wirebay.ports.user import UserPort

        port = self._network.ports[options.id]
        assert isinstance(port, UserPort)
        before = port.options
        await port.change_forwards(options)
        self.journal.add(partial(port.change_forwards, before))

    async def _close_old(self) -> None:
        """Close what is removed or opened anew, as far as it is still there: first what stands on others."""
        filters = {one.id: one for one in self._before.objects}
        for name in reversed(self._changes.objects.old):
            if found := self._objects.filters.get(name):
                self._warn(name, await found.discard())
                self.journal.add(partial(self._add_filter, filters[name], self._before.objects))
        chardevs = {one.id: one for one in self._before.chardevs}
        for name in self._changes.chardevs.old:
            if name in self._objects.chardevs:
                self._warn(name, await self._objects.remove_chardev(name))
                self.journal.add(partial(self._objects.add_chardev, chardevs[name]))
        await self._close_ports(self._changes.netdevs.old)

    async def _close_ports(self, names: Sequence[str]) -> None:
        """Close those that are still there."""
        before = {netdev.id: netdev for netdev in self._before.netdevs}
        for name in names:
            if port := self._network.ports.get(name):
                hub = port.hub
                self._warn(name, await port.discard())
                self.journal.add(partial(self._bring_back, before[name], hub))

    def _warn(self, name: str, problems: Sequence[Exception]) -> None:
        for problem in problems:
            logger.warning("'%s' was not removed cleanly: %s", name, problem)

    async def _bring_back(self, options: Netdev, hub: Hub | None) -> None:
        port = await self._network.add(options)
        if hub is not None and self._network.hubs.get(hub.name) is hub:
            await hub.join(port)

    async def _open_ports(self, netdevs: Sequence[Netdev]) -> None:
        for netdev in netdevs:
            port = await self._network.add(netdev)
            self.journal.add(port.close)

    async def _open_chardevs(self, chardevs: Sequence[ChardevOptions]) -> None:
        for options in chardevs:
            await self._objects.add_chardev(options)
            self.journal.add(partial(self._objects.remove_chardev, options.id))

    async def _open_filters(self, filters: Sequence[FilterOptions]) -> None:
        for options in filters:
            made = await self._add_filter(options, self._wanted.objects)
            self.journal.add(made.close)

    async def _add_filter(self, options: FilterOptions, order: Sequence[FilterOptions]) -> Filter:
        return await self._objects.add(in_order(options, order, self._objects.filters))

    async def _empty_shared_hub(self) -> None:
        for port in self._layout.on_shared_hub():
            if hub := port.hub:  # else it followed the server that it is a peer of
                await hub.leave(port)
                self.journal.add(partial(rejoin, hub, port))

    async def _plug_in(self) -> None:
        """Join what was opened; and what places have left, if the last of them has gone."""
        names = self._changes.netdevs.fresh
        if has_places(self._before.netdevs):
            names = {netdev.id for netdev in self._wanted.netdevs}
        ports = [port for port in self._network.ports.values() if port.id in names and port.hub is None]
        if ports:
            await self._layout.share_hub(ports)


async def rejoin(hub: Hub, port: Port) -> None:
    """Plug a port in again; the peer of a server has followed it already."""
    if port.hub is None:
        await hub.join(port)


def stands_on(options: FilterOptions, names: set[str]) -> bool:
    """Whether a filter is on one of these ports, or uses one of these chardevs."""
    return options.netdev in names or any(name in names for _, name in chardevs_of(options))


def in_order(
    options: FilterOptions, order: Sequence[FilterOptions], present: Container[str]
) -> FilterOptions:
    """The same, at the place among filters that are there already which the order of the whole gives it."""
    if options.position != "tail":
        return options
    behind = order[[one.id for one in order].index(options.id) + 1 :]
    for other in behind:
        if other.netdev == options.netdev and other.id in present and other.position == "tail":
            return replace(options, position=other.id, behind=False)
    return options
