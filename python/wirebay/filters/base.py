"""What every filter has in common: its place on a port, its life in the worker."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from wirebay.background import run_until_closed
from wirebay.errors import WirebayError, WorkerError
from wirebay.teardown import Teardown

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from wirebay.network import Network
    from wirebay.options.objects import FilterOptions
    from wirebay.ports import Port

logger = logging.getLogger("wirebay")


class Filter:
    """Something between a port and its segment; made by `Network.add_object()`.

    `id` is its name, `port` what it is on, `status` whether it does anything. `kind` is QEMU's type.
    """

    kind: ClassVar[str]

    def __init__(self, network: Network, options: FilterOptions, port: Port) -> None:
        self.network = network
        self.id = options.id
        self.port = port
        self.status = options.status
        self.common = options
        self._teardown = Teardown()
        self._in_worker = False

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} on {self.port.id}>"

    async def open(self, place: int) -> None:
        """Put the filter at `place` of the port's chain, 0 the head; `Network.add_object()` calls it."""
        raise NotImplementedError

    async def set_status(self, on: bool) -> None:
        """Switch it on or off, as `qom-set` of `status` does. What a buffer holds goes on."""
        await self.network.worker.call("filter_set", filter=self.id, on=on)
        self.status = on

    async def stats(self) -> dict[str, Any]:
        """Its counters: `frames` and `bytes` taken notice of, `drops` by reason."""
        reply = await self.network.worker.call("filter_stats", filters=[self.id])
        counters: dict[str, Any] = reply["filters"][self.id]
        return counters

    async def close(self) -> None:
        """Take the filter out; a capture is complete then. Raises WirebayError if some of that failed."""
        errors = await self.discard()
        if errors:
            raise errors[0]

    async def discard(self) -> list[Exception]:
        """Like `close()`, with the errors returned."""
        self.network.objects.forget(self)
        errors: list[Exception] = []
        if self._in_worker:
            self._in_worker = False
            try:
                await self.network.worker.call("filter_remove", filter=self.id)
            except WorkerError:
                pass  # it went with the worker
            except WirebayError as error:
                errors.append(error)
        return errors + await self._teardown.run()

    async def port_gone(self) -> None:
        """The port has gone, and in the worker its filters with it."""
        self._in_worker = False
        await self.discard()

    def on_event(self, event: dict[str, Any]) -> None:
        """An event of the worker about this filter."""

    async def _add_to_worker(self, place: int, kind: object, fds: Sequence[int] = ()) -> None:
        self._in_worker = True
        try:
            await self.network.worker.call(
                "filter_add",
                fds=fds,
                filter=self.id,
                port=self.port.id,
                queue=self.common.queue,
                place=place,
                on=self.common.status,
                kind=kind,
            )
        except WirebayError:
            self._in_worker = False
            raise

    def _run(self, what: str, work: Callable[..., Awaitable[None]], *arguments: object) -> None:
        title = f"{what} of {self.kind} '{self.id}'"
        run_until_closed(self._teardown, title, work, *arguments)
