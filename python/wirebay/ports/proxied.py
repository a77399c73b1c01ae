"""hostfwd with the PROXY protocol: the forwards whose connections Python accepts, by name."""

from __future__ import annotations

import asyncio
from collections import Counter
from socket import socket

from wirebay.options.types import Address, HostForward
from wirebay.ports.forwards import OpenForward
from wirebay.services.proxy_relay import ProxyForward
from wirebay.services.tcp import CallWorker

__all__ = ["ProxiedForwards"]


class ProxiedForwards:
    """The proxied forwards of the port `port`; `call` sends a command to the worker.

    `drops` counts, by reason, the connections that were ended.
    """

    def __init__(self, call: CallWorker, port: str) -> None:
        self.drops: Counter[str] = Counter()
        self._call = call
        self._port = port
        self._serving: dict[str, list[asyncio.Task[None]]] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._serving

    def start(self, forward: OpenForward, name: str) -> None:
        """Accept for `forward` from now on; its sockets may be closed afterwards."""
        loop = asyncio.get_running_loop()
        tasks = [
            loop.create_task(self._serve(sock.dup(), forward.rule, number))
            for number, sock in enumerate(forward.sockets)
        ]
        self._serving[name] = tasks

    async def stop(self, name: str) -> None:
        """Close a forward, and end those of its connections that pass through Python."""
        tasks = self._serving.pop(name)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    async def close(self) -> None:
        """Close them all."""
        for name in list(self._serving):
            await self.stop(name)

    async def _serve(self, listener: socket, rule: HostForward, number: int) -> None:
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

        forward = ProxyForward(listener, rule, hand_over, self.drops)
        try:
            await forward.serve()
        finally:
            forward.close()
