"""DNS in a user network: the part that is there from the start, light until the first query comes.

The server itself (dns_server.py) is made with the first query, because importing what it needs to read
messages would take as long as all the rest of the start.
"""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from wirebay.errors import HostError
from wirebay.options.types import Address
from wirebay.services.channel import Datagram, ServiceChannel
from wirebay.services.dns_names import LocalNames
from wirebay.services.tcp import Client

if TYPE_CHECKING:
    from wirebay.services.dns_server import DnsServer
    from wirebay.services.dns_upstream import Endpoint

__all__ = ["PORT", "DnsService"]

PORT = 53
MAX_STREAMS = 64


class DnsService:
    """DNS over UDP and TCP. `network` names the user network in the log, `mtu` is its, in bytes.

    `endpoint` says where a DNS server of the host listens; None is its port 53. `drops` counts, by reason,
    the queries that were not answered or refused."""

    def __init__(
        self,
        network: str,
        names: LocalNames,
        mtu: int,
        channel: ServiceChannel,
        endpoint: Endpoint | None = None,
    ) -> None:
        self.drops: Counter[str] = Counter()
        self._network, self._names, self._mtu = network, names, mtu
        self._channel = channel
        self._endpoint = endpoint
        self._servers: tuple[Address, ...] = ()
        self._made: DnsServer | None = None
        self._streams: set[asyncio.Task[None]] = set()

    async def set_servers(self, servers: Iterable[Address]) -> None:
        """The host's DNS servers from now on, best first (`follow_resolvers` calls it)."""
        self._servers = tuple(servers)
        if self._made is not None:
            self._made.set_servers(self._servers)

    def handle(self, datagram: Datagram) -> list[Datagram]:
        """The handler for the service channel."""
        return self._server().handle(datagram, self._channel)

    async def connect(self, client: Client) -> socket.socket:
        """The far end of a guest's TCP connection. Raises HostError when there are too many."""
        if len(self._streams) >= MAX_STREAMS:
            raise HostError(f"{MAX_STREAMS} connections are open already")
        far, near = socket.socketpair()
        reader, writer = await asyncio.open_connection(sock=near)
        serving = self._server().serve_connection(reader, writer, client.address)
        task = asyncio.get_running_loop().create_task(serving)
        self._streams.add(task)
        task.add_done_callback(self._streams.discard)
        task.add_done_callback(lambda _: writer.close())
        return far

    async def close(self) -> None:
        """End everything under way."""
        for task in self._streams:
            task.cancel()
        if self._streams:
            await asyncio.wait(self._streams)
        if self._made is not None:
            await self._made.close()

    def _server(self) -> DnsServer:
        if self._made is None:
            from wirebay.services.dns_server import DnsConfig, DnsServer
            from wirebay.services.dns_upstream import dns_port

            endpoint = self._endpoint or dns_port
            config = DnsConfig(network=self._network, names=self._names, mtu=self._mtu, endpoint=endpoint)
            self._made = DnsServer(config, self.drops)
            self._made.set_servers(self._servers)
        return self._made
