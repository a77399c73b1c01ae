"""The filters of a network and their chardevs, by id; the order of each port's filters."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from wirebay.errors import OptionError, WirebayError

if TYPE_CHECKING:
    from wirebay.filters import Chardev, Filter
    from wirebay.network import Network
    from wirebay.options.chardev import ChardevOptions
    from wirebay.options.objects import FilterOptions
    from wirebay.ports import Port

logger = logging.getLogger("wirebay")


class Objects:
    """Filters and chardevs; `Network.objects`."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._filters: dict[str, Filter] = {}
        self._chardevs: dict[str, Chardev] = {}
        # From head to tail.
        self._chains: dict[Port, list[Filter]] = {}

    @property
    def filters(self) -> Mapping[str, Filter]:
        """The filters by id."""
        return MappingProxyType(self._filters)

    @property
    def chardevs(self) -> Mapping[str, Chardev]:
        """The chardevs by id."""
        return MappingProxyType(self._chardevs)

    def chain(self, port: Port) -> list[Filter]:
        """The filters of a port, from the head, which is next to the port, to the tail."""
        return list(self._chains.get(port, ()))

    async def add_chardev(self, options: str | ChardevOptions) -> Chardev:
        """`Network.add_chardev()`."""
        from wirebay.filters.chardev import Chardev
        from wirebay.options.chardev import parse_chardev

        chardev = Chardev(parse_chardev(options) if isinstance(options, str) else options)
        if chardev.id in self._chardevs:
            raise OptionError(f"Duplicate ID '{chardev.id}' for chardev")
        self._chardevs[chardev.id] = chardev
        try:
            await chardev.open()
        except BaseException:
            del self._chardevs[chardev.id]
            await chardev.close()
            raise
        return chardev

    async def remove_chardev(self, name: str) -> list[Exception]:
        """Close a chardev that no filter uses any more; returns what failed. Raises OptionError."""
        if name not in self._chardevs:
            raise OptionError(f"Chardev '{name}' not found")
        if self._chardevs[name].user is not None:
            raise OptionError(f"Chardev '{name}' is busy")
        return await self._chardevs.pop(name).close()

    async def add(self, options: FilterOptions) -> Filter:
        """`Network.add_object()`."""
        if options.id in self._filters:
            raise OptionError(f"Duplicate ID '{options.id}' for object")
        port = self._network.ports.get(options.netdev)
        if port is None or port.kind in ("hubport", "switchport"):
            raise OptionError("Parameter 'netdev' expects a network backend id")
        place = self._place(port, options)
        made = self._make(options, port)
        self._filters[made.id] = made
        self._chains.setdefault(port, []).insert(place, made)
        try:
            await made.open(place)
        except BaseException:
            for problem in await made.discard():
                logger.warning("filter '%s' was not removed cleanly: %s", made.id, problem)
            raise
        return made

    def _place(self, port: Port, options: FilterOptions) -> int:
        chain = self._chains.get(port, [])
        if options.position in ("head", "tail"):
            return 0 if options.position == "head" else len(chain)
        other = self._filters.get(options.position)
        if other is None:
            raise OptionError(f"filter '{options.position}' not found")
        if other.port is not port:
            raise OptionError(f"filter '{options.position}' belongs to a different netdev")
        return chain.index(other) + options.behind

    def _make(self, options: FilterOptions, port: Port) -> Filter:
        from wirebay.filters.buffer import BufferFilter
        from wirebay.filters.dump import DumpFilter
        from wirebay.filters.ends import MirrorFilter, RedirectorFilter
        from wirebay.options.objects import BufferOptions, DumpOptions, MirrorOptions, RedirectorOptions

        match options:
            case BufferOptions():
                return BufferFilter(self._network, options, port)
            case DumpOptions():
                return DumpFilter(self._network, options, port)
            case MirrorOptions():
                ends = {"out": self._chardev(options.outdev, "Device")}
                return MirrorFilter(self._network, options, port, ends)
            case RedirectorOptions():
                return RedirectorFilter(
                    self._network, options, port, self._ends(options.indev, options.outdev)
                )
        raise OptionError(f"'{type(options).__name__}' is no filter")

    def _ends(self, indev: str | None, outdev: str | None) -> dict[str, Chardev]:
        ends = {}
        if indev is not None:
            ends["in"] = self._chardev(indev, "IN Device")
        if outdev is not None:
            ends["out"] = self._chardev(outdev, "OUT Device")
        return ends

    def _chardev(self, name: str, what: str) -> Chardev:
        if name not in self._chardevs:
            raise OptionError(f"{what} '{name}' not found")
        return self._chardevs[name]

    def forget(self, gone: Filter) -> None:
        """Take a filter out of the mirror; `Filter.close()` calls it."""
        if self._filters.get(gone.id) is gone:
            del self._filters[gone.id]
            self._chains[gone.port].remove(gone)
            if not self._chains[gone.port]:
                del self._chains[gone.port]

    async def close_chain(self, port: Port) -> list[Exception]:
        """Close the filters of a port that is about to close; returns what failed."""
        return [error for gone in self.chain(port) for error in await gone.discard()]

    async def drop_chain(self, port: Port) -> None:
        """The port has gone by itself, and in the worker its filters with it."""
        for gone in self.chain(port):
            await gone.port_gone()

    def on_event(self, event: dict[str, Any]) -> None:
        """An event of the worker about a filter."""
        if found := self._filters.get(str(event["filter"])):
            found.on_event(event)

    async def close(self) -> list[Exception]:
        """Close everything, filters first; returns what failed."""
        errors: list[Exception] = []
        for gone in reversed(list(self._filters.values())):
            errors += await gone.discard()
        for chardev in reversed(list(self._chardevs.values())):
            errors += await chardev.close()
        self._chardevs.clear()
        return [error for error in errors if isinstance(error, (WirebayError, OSError))]
