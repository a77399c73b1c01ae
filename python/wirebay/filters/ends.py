"""filter-mirror and filter-redirector: frames to and from other programs, behind their lengths.

Each end has a chardev. Its peers are handed to the worker one at a time; when the worker says that one has
gone, the next is taken. Without a peer a mirror copies nothing and a redirector lets everything pass.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from wirebay.errors import WirebayError, WorkerError
from wirebay.filters.base import Filter
from wirebay.options.objects import MirrorOptions, RedirectorOptions
from wirebay.waiting import resolve

if TYPE_CHECKING:
    from wirebay.filters.chardev import Chardev
    from wirebay.network import Network
    from wirebay.ports import Port

logger = logging.getLogger("wirebay")


class EndsFilter(Filter):
    """A filter with connections; `connected` resolves, by end (in, out), when it has its first peer."""

    def __init__(
        self,
        network: Network,
        options: MirrorOptions | RedirectorOptions,
        port: Port,
        ends: Mapping[str, Chardev],
    ) -> None:
        super().__init__(network, options, port)
        self.ends = ends
        loop = asyncio.get_running_loop()
        self.connected: dict[str, asyncio.Future[None]] = {end: loop.create_future() for end in ends}
        self._gone: dict[str, asyncio.Future[None]] = {}

    async def _open(self, place: int, kind: object) -> None:
        for chardev in self.ends.values():
            chardev.take(self.id)
            self._teardown.add(chardev.give_back)
        await self._add_to_worker(place, kind)
        for end, chardev in self.ends.items():
            self._run("connecting", self._serve, end, chardev)

    async def _serve(self, end: str, chardev: Chardev) -> None:
        async for peer in chardev.peers():
            gone = self._gone[end] = asyncio.get_running_loop().create_future()
            with peer:
                try:
                    await self._attach(end, peer)
                except WorkerError:
                    raise
                except WirebayError as error:
                    logger.warning("%s '%s' could not take its peer: %s", self.kind, self.id, error)
                    continue
            resolve(self.connected[end])
            await gone

    async def _attach(self, end: str, peer: socket.socket) -> None:
        await self.network.worker.call("filter_attach", filter=self.id, end=end, fds=[peer.fileno()])

    def on_event(self, event: dict[str, Any]) -> None:
        """`filter_closed`: log why, and let the next peer in."""
        gone = self._gone.get(str(event.get("end")))
        if event["event"] == "filter_closed" and gone is not None:
            logger.info("%s '%s': %s", self.kind, self.id, event.get("reason"))
            resolve(gone)


class MirrorFilter(EndsFilter):
    """Copies what passes to its chardev."""

    kind = "filter-mirror"

    async def open(self, place: int) -> None:
        """Begin; copies go out as soon as there is a peer. Raises OptionError when the chardev is in use."""
        assert isinstance(self.common, MirrorOptions)
        await self._open(place, {"mirror": {"vnet_hdr": self.common.vnet_hdr_support}})


class RedirectorFilter(EndsFilter):
    """Diverts what passes to one chardev, and brings in what comes from another."""

    kind = "filter-redirector"

    async def open(self, place: int) -> None:
        """Begin; without a peer everything passes. Raises OptionError when a chardev is in use."""
        assert isinstance(self.common, RedirectorOptions)
        ends = {end: end in self.ends for end in ("in", "out")}
        await self._open(place, {"redirector": {**ends, "vnet_hdr": self.common.vnet_hdr_support}})
