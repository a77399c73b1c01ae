"""A set of ports that is described as a whole, and changed into another with as little as can be.

Theory. `Layout.apply` compares the ports that it opened last time with those that are wanted. Ports with
equal options are not touched, whatever has become of them through control meanwhile; of a user network whose
rules alone differ the rules are changed; all other differences close the port and open it anew. Hubports of
ports that are opened anew are plugged in anew. Ports that others opened are none of its business.

It is done so that mistakes leave everything as it was: what is new is opened first, and each step has its
undoing in a journal. Where something new needs what something old still holds, an address, that fails; then
it is undone, and done once more with the old ports closed first. Only then can an undoing cost anything: a
port that was closed is opened again, but the connections through it are gone.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from wirebay.errors import OptionError, WirebayError, WorkerError
from wirebay.options.types import HubportOptions, Netdev, UserOptions
from wirebay.teardown import Teardown
from wirebay.wiring import contradictions, has_hubports, ordered

if TYPE_CHECKING:
    from wirebay.network import Hub, Network
    from wirebay.ports import Port

__all__ = ["Changes", "Layout", "compare"]

logger = logging.getLogger("wirebay")


@dataclass(frozen=True, kw_only=True, slots=True)
class Changes:
    """What differs: ports to open, to close, to open anew, and user networks whose rules change."""

    added: tuple[Netdev, ...] = ()
    removed: tuple[Netdev, ...] = ()
    replaced: tuple[Netdev, ...] = ()
    updated: tuple[UserOptions, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.replaced or self.updated)

    def __str__(self) -> str:
        kinds = {
            "opened": self.added,
            "closed": self.removed,
            "reopened": self.replaced,
            "rules of": self.updated,
        }
        told = [
            f"{what} {', '.join(netdev.id for netdev in netdevs)}"
            for what, netdevs in kinds.items()
            if netdevs
        ]
        return "; ".join(told) or "nothing has changed"


def compare(old: Sequence[Netdev], new: Sequence[Netdev], present: Collection[str]) -> Changes:
    """What makes `new` of `old`, of which the ports `present` are still there."""
    before = {netdev.id: netdev for netdev in old if netdev.id in present}
    wanted = {netdev.id for netdev in new}
    added = [netdev for netdev in new if netdev.id not in before]
    updated = [
        netdev
        for netdev in new
        if isinstance(netdev, UserOptions) and differs_in_rules(before.get(netdev.id), netdev)
    ]
    kept = [netdev for netdev in new if netdev.id in before and netdev not in updated]
    replaced = [netdev for netdev in kept if netdev != before[netdev.id]]
    fresh = {netdev.id for netdev in (*added, *replaced)}
    replaced += [
        netdev
        for netdev in kept
        if netdev.id not in fresh and isinstance(netdev, HubportOptions) and netdev.netdev in fresh
    ]
    removed = [netdev for name, netdev in before.items() if name not in wanted]
    return Changes(
        added=tuple(added), removed=tuple(removed), replaced=tuple(replaced), updated=tuple(updated)
    )


def differs_in_rules(old: Netdev | None, new: UserOptions) -> bool:
    """Whether the forwards of two user networks differ, and nothing else does."""
    if not isinstance(old, UserOptions) or old == new:
        return False
    return replace(old, hostfwd=new.hostfwd, guestfwd=new.guestfwd) == new


class Layout:
    """The ports of a network that are described as a whole; `current` are their options."""

    def __init__(self, network: Network) -> None:
        self.current: tuple[Netdev, ...] = ()
        self.network = network
        self._shared: Hub | None = None
        self._changing = asyncio.Lock()

    async def apply(self, netdevs: Sequence[Netdev]) -> Changes:
        """Make the ports be these; returns what was changed.

        Raises OptionError where they contradict each other or an id is taken, HostError when one cannot be
        opened; everything is as before then.
        """
        async with self._changing:
            for _, sentence in contradictions(netdevs):
                raise OptionError(sentence)
            changes = compare(self.current, netdevs, self.network.ports)
            run = _Run(self, changes, netdevs)
            try:
                await self._try(run)
            except WorkerError:
                raise
            except WirebayError:
                if run.has_closed or not (changes.removed or changes.replaced):
                    raise
                await self._try(_Run(self, changes, netdevs, old_first=True))
            self.current = tuple(netdevs)
            return changes

    async def _try(self, run: _Run) -> None:
        try:
            await run.carry_out()
        except WorkerError:
            raise
        except WirebayError:
            for problem in await run.journal.run():
                logger.warning("not everything is as it was: %s", problem)
            raise

    async def shared_hub(self, ports: Sequence[Port]) -> Hub:
        """The hub of all ports, where no hubport says otherwise; these are plugged in."""
        if self._shared is None or self.network.hubs.get(self._shared.name) is not self._shared:
            self._shared = await self.network.join(*ports)
        else:
            for port in ports:
                await self._shared.join(port)
        return self._shared

    def on_shared_hub(self) -> list[Port]:
        """The ports that are on that hub."""
        return self._shared.ports if self._shared else []


class _Run:
    """One attempt. `journal` undoes what was done so far; `has_closed` tells whether old ports have gone."""

    def __init__(
        self, layout: Layout, changes: Changes, wanted: Sequence[Netdev], *, old_first: bool = False
    ) -> None:
        self.journal = Teardown()
        self.has_closed = False
        self._layout = layout
        self._network = layout.network
        self._changes = changes
        self._wanted = wanted
        self._old_first = old_first
        self._before = {netdev.id: netdev for netdev in layout.current}

    async def carry_out(self) -> None:
        changes, network = self._changes, self._network.ports
        old = [netdev.id for netdev in (*changes.removed, *changes.replaced)]
        await self._close_all([name for name in old if network[name].kind == "hubport"])
        if has_hubports(self._wanted):
            await self._empty_shared_hub()
        if self._old_first:
            await self._close_all(old)
        for options in changes.updated:
            await self._update(options)
        await self._open_all([netdev for netdev in changes.added if not isinstance(netdev, HubportOptions)])
        self.has_closed = True
        await self._close_all(old)
        await self._open_all(ordered(changes.replaced))
        await self._open_all([netdev for netdev in changes.added if isinstance(netdev, HubportOptions)])
        if not has_hubports(self._wanted):
            await self._plug_in()

    async def _update(self, options: UserOptions) -> None:
        from wirebay.ports.user import UserPort

        port = self._network.ports[options.id]
        assert isinstance(port, UserPort)
        before = port.options
        await port.change_forwards(options)
        self.journal.add(partial(port.change_forwards, before))

    async def _close_all(self, names: Sequence[str]) -> None:
        """Close those that are still there."""
        for name in names:
            if name in self._network.ports:
                await self._close(name)

    async def _close(self, name: str) -> None:
        port = self._network.ports[name]
        hub, options = port.hub, self._before[name]
        for problem in await port.discard():
            logger.warning("port '%s' was not removed cleanly: %s", name, problem)
        self.journal.add(partial(self._bring_back, options, hub))

    async def _bring_back(self, options: Netdev, hub: Hub | None) -> None:
        port = await self._network.add(options)
        if hub is not None and port.hub is None and self._network.hubs.get(hub.name) is hub:
            await hub.join(port)

    async def _open_all(self, netdevs: Sequence[Netdev]) -> None:
        for netdev in netdevs:
            port = await self._network.add(netdev)
            self.journal.add(port.close)

    async def _empty_shared_hub(self) -> None:
        for port in self._layout.on_shared_hub():
            hub = port.hub
            assert hub is not None
            await hub.leave(port)
            self.journal.add(partial(hub.join, port))

    async def _plug_in(self) -> None:
        """Join what was opened; and what hubports have left, if the last of them has gone."""
        fresh = {netdev.id for netdev in (*self._changes.added, *self._changes.replaced)}
        names = (
            fresh if not has_hubports(list(self._before.values())) else {netdev.id for netdev in self._wanted}
        )
        ports = [port for port in self._network.ports.values() if port.id in names and port.hub is None]
        if ports:
            await self._layout.shared_hub(ports)
