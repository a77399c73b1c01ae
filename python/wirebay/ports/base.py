"""What every port has in common: its place in the network, its life in the worker, its clean-up."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from wirebay.background import run_until_closed
from wirebay.errors import WirebayError, WorkerError
from wirebay.teardown import Teardown

if TYPE_CHECKING:
    from wirebay.network import Network
    from wirebay.options.types import Netdev
    from wirebay.segments import Hub

logger = logging.getLogger("wirebay")


class Port:
    """Anything that gives and takes frames; made by `Network.add()`.

    `id` is its name, `kind` its netdev type, `hub` the segment it sits on (None: unplugged), `link`
    whether its link is up, `place` how it sits on its segment. `failed` resolves to one sentence if the port
    ends by itself, as a TAP does when it is deleted.
    """

    kind: ClassVar[str]

    def __init__(self, network: Network, options: Netdev) -> None:
        self.network = network
        self.id = options.id
        self.hub: Hub | None = None
        self.place: Mapping[str, Any] = {}
        self.link = True
        self.failed: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._teardown = Teardown()
        self._in_worker = False

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.describe()}>"

    def describe(self) -> str:
        """One line for people: the id and what is behind it."""
        return f"{self.id}: {self.kind}"

    async def set_link(self, up: bool) -> None:
        """Let the link between the port and its segment go up or down, as QMP's set_link does.

        While it is down, frames are swallowed both ways and counted as link_down. A peer is told nothing, and
        the flows of a user network go on when it is up again in time.
        """
        await self.network.worker.call("link", port=self.id, up=up)
        self.link = up

    async def open(self) -> None:
        """Set the port up, on the host and in the worker; `Network.add()` calls it."""
        raise NotImplementedError

    async def close(self) -> None:
        """Unplug and remove the port, and undo its set-up. Raises WirebayError if some of that failed."""
        errors = await self.discard()
        if errors:
            raise errors[0]

    async def discard(self) -> list[Exception]:
        """Like `close()`, with the errors returned."""
        # While the port is still there: a capture has the rest of its frames to write.
        errors = await self.network.objects.close_chain(self)
        self.network.forget(self)
        if self._in_worker:
            self._in_worker = False
            try:
                await self.network.worker.call("port_remove", port=self.id)
            except WorkerError:
                pass  # the port went with the worker
            except WirebayError as error:
                errors.append(error)
        return errors + await self.release()

    async def release(self) -> list[Exception]:
        """Undo the host's side of the set-up only; for when the worker's side goes by itself."""
        return await self._teardown.run()

    def at_end(self, step: Callable[[], object]) -> None:
        """Have `step` called when the port is released."""
        self._teardown.add(step)

    async def fail(self, reason: str) -> None:
        """The worker gave the port up, for `reason` (a sentence)."""
        self._in_worker = False
        self.network.forget(self)
        await self.network.objects.drop_chain(self)
        sentence = f"{self.kind} port '{self.id}' is gone: {reason}"
        logger.warning("%s", sentence)
        self.network.tell("WIREBAY_PORT_FAILED", {"netdev-id": self.id, "reason": reason})
        if not self.failed.done():
            self.failed.set_result(sentence)
        for error in await self.release():
            logger.warning("%s port '%s' did not close cleanly: %s", self.kind, self.id, error)

    def on_event(self, event: dict[str, Any]) -> None:
        """An event of the worker about this port, other than its failure."""

    async def moved(self) -> None:
        """The port was plugged in or unplugged; for those who have others follow."""

    def service_drops(self) -> Mapping[str, int]:
        """What the port's services in Python dropped, by reason; the worker counts its own."""
        return {}

    async def _add_to_worker(self, cmd: str, *, fds: Sequence[int] = (), **members: object) -> None:
        self._in_worker = True  # also for one who is cancelled while the worker does it
        try:
            await self.network.worker.call(cmd, fds=fds, port=self.id, **members)
        except WirebayError:
            self._in_worker = False
            raise

    def _run(self, what: str, work: Callable[..., Awaitable[None]], *arguments: object) -> None:
        """Run `work` until the port closes; if it fails, the port goes on without and the log says `what`."""
        title = f"{what} of {self.kind} port '{self.id}'"
        run_until_closed(self._teardown, title, work, *arguments)
