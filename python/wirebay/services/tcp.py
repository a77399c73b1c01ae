"""TCP services of a user network: what is behind an address and port in the guests' network.

Theory of operation
===================

For a connection of a guest to a service the worker sends the event `service_connect` and holds the guest's
SYN back. `TcpServices` then asks the service for the far end, a connected socket, and hands it over by
`service_attach`: from then on bytes move between guest and far end in the worker, and Python has no part in
it unless the far end is its own. When there is no far end the answer is `service_refuse`, and the guest
gets RST.

The guest waits meanwhile, so a service has `PATIENCE` seconds. Connections that wait are bounded for the
whole network; one more is refused at once.

A service that fails is told in one sentence, and again only after it worked in between.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from ipaddress import ip_address
from socket import socket
from typing import Any

from wirebay.errors import HostError, WirebayError
from wirebay.options.types import Address

__all__ = ["CallWorker", "Client", "Connect", "TcpServices"]

MAX_WAITING = 256
# Connections in the making and refusals on their way; beyond this the worker's own time-out answers.
MAX_TASKS = 1024
PATIENCE = 15.0  # seconds

logger = logging.getLogger("wirebay")

CallWorker = Callable[..., Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Client:
    """The guest's end of a connection."""

    address: Address
    port: int


# Gives the far end, which the caller closes. Raises HostError, with a sentence, when there is none.
Connect = Callable[[Client], Awaitable[socket]]


class TcpServices:
    """The TCP services of the port `port`. `drops` counts the connections that were refused, by reason.

    `call` sends a command to the worker, as `Worker.call` does.
    """

    def __init__(self, call: CallWorker, port: str) -> None:
        self.drops: Counter[str] = Counter()
        self._call = call
        self._port = port
        self._services: dict[str, tuple[str, Connect]] = {}
        self._failing: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._waiting = 0

    async def add(self, name: str, title: str, addr: Address, service_port: int, connect: Connect) -> None:
        """Open a service. `name` is the worker's, `title` what the log calls it. Raises WirebayError."""
        self._services[name] = (title, connect)
        members = {"proto": "tcp", "addr": str(addr), "service_port": service_port}
        await self._call("service_add", port=self._port, service=name, **members)

    def forget(self, name: str) -> None:
        """Give nobody a far end any more, once the worker has no such service."""
        self._services.pop(name, None)
        self._failing.discard(name)

    def on_event(self, event: dict[str, Any]) -> None:
        """Take the worker's event `service_connect`."""
        if len(self._tasks) >= MAX_TASKS:
            self.drops["too_many"] += 1
            return
        task = asyncio.get_running_loop().create_task(self._answer(event))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """End what is in the making; the worker's side goes with the port."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _answer(self, event: dict[str, Any]) -> None:
        name = str(event["service"])
        client = Client(ip_address(event["client"]), int(event["client_port"]))
        far = await self._far_end(name, client)
        try:
            if far is None:
                await self._call("service_refuse", port=self._port, connection=event["connection"])
            else:
                fds = [far.fileno()]
                await self._call("service_attach", fds=fds, port=self._port, connection=event["connection"])
        except WirebayError:
            self.drops["gone"] += 1  # the guest has left, or the worker
        finally:
            if far is not None:
                far.close()

    async def _far_end(self, name: str, client: Client) -> socket | None:
        if name not in self._services or self._waiting >= MAX_WAITING:
            self.drops["too_many" if name in self._services else "unknown"] += 1
            return None
        title, connect = self._services[name]
        self._waiting += 1
        try:
            async with asyncio.timeout(PATIENCE):
                far = await connect(client)
        except (HostError, TimeoutError) as error:
            self._complain(name, f"{title}: {error if isinstance(error, HostError) else 'no answer'}")
            return None
        finally:
            self._waiting -= 1
        self._failing.discard(name)
        return far

    def _complain(self, name: str, sentence: str) -> None:
        self.drops["refused"] += 1
        if name not in self._failing:
            self._failing.add(name)
            logger.warning("%s", sentence)
