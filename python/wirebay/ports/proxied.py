"""hostfwd with the PROXY protocol: the forwards whose connections Python accepts, by name."""

from __future__ import annotations

import asyncio
from collections import Counter
from socket import socket
from typing import TYPE_CHECKING

from wirebay.options.types import Address, HostForward
from wirebay.ports.forwards import OpenForward
from wirebay.services.tcp import CallWorker

if TYPE_CHECKING:
    from wirebay.services.proxy_relay import HandOver, ProxyForward

__all__ = ["ProxiedForwards"]


class ProxiedForwards:
    """The proxied forwards of the port `port`; `call` sends a command to the worker.

    `drops` counts, by reason, the connections that were ended.
    """

    def __init__(self, call: CallWorker, port: str) -> None:
        self.drops: Counter[str] = Counter()
        self._call = call
        self._port = port
        self._serving: dict[str, list[tuple[ProxyForward, asyncio.Task[None]]]] = {}

    def start(self, forward: OpenForward, name: str) -> None:
        """Accept for `forward` from now on; its sockets may be closed afterwards."""
        from wirebay.services.proxy_relay import ProxyForward  # few networks need it

        loop = asyncio.get_running_loop()
        self._serving[name] = []
        for number, sock in enumerate(forward.sockets):
            hand_over = self._hand_over(forward.rule, number)
            serving = ProxyForward(sock.dup(), forward.rule, hand_over, self.drops)
            self._serving[name].append((serving, loop.create_task(serving.serve())))

    async def stop(self, name: str) -> None:
        """Close a forward, and end those of its connections that pass through Python."""
        for forward, task in self._serving.pop(name):
            task.cancel()
            await asyncio.wait((task,))
            forward.close()

    async def close(self) -> None:
        """Close them all."""
        for name in list(self._serving):
            await self.stop(name)

    def _hand_over(self, rule: HostForward, number: int) -> HandOver:
        """What gives the worker a connection to the rule's port `number`, counted from 0."""

        async def hand_over(sock: socket, client: Address, client_port: int) -> None:
            await self._call(
                "forward_accept",
                fds=[sock.fileno()],
                port=self._port,
                guest=str(rule.guest_addr),
                guest_port=rule.guest_port + number,
                client=str(client),
                client_port=client_port,
            )

        return hand_over
