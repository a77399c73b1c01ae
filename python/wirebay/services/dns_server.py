"""The DNS server of a user network: local names, and everything else asked of the host's servers.

Theory of operation
===================

A query takes one way through `DnsServer.answer`, whether it came over UDP or TCP:

    not a query            dropped, or refused with a header alone, no larger than what came
    a name of ours         answered from `LocalNames`
    below our domain only  NXDOMAIN, and NODATA (no records, no error) where the name has other records
    anything else          forwarded as it is but for its id (dns_upstream.py), every record type alike
    no server answers      SERVFAIL to the guest, and one sentence in the log until one answers again

An answer over UDP is cut to what the guest offered to take (512 bytes without EDNS), and to what fits the
MTU: then it is a head with TC and no more. So no answer is larger than was asked for.

Bounds: `MAX_LOOKUPS` questions wait for servers at a time, `MAX_LOOKUPS_OF_GUEST` of one guest; what is
more is dropped over UDP, where the guest asks again anyway, and SERVFAIL over TCP. A question that a guest
repeats while it is being asked is dropped as well: the answer to the first serves."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Hashable, Iterable
from dataclasses import dataclass

from wirebay.options.types import Address
from wirebay.services.channel import Datagram, ServiceChannel
from wirebay.services.dns_lookup import Upstreams
from wirebay.services.dns_message import (
    NAME_ERROR,
    SERVER_FAILURE,
    DnsError,
    Query,
    failure,
    fit,
    local_answer,
    pointer_answer,
    read_query,
)
from wirebay.services.dns_names import LocalNames, reverse_address
from wirebay.services.dns_upstream import Endpoint, ask, dns_port

__all__ = ["DnsServer"]

MAX_LOOKUPS = 128
MAX_LOOKUPS_OF_GUEST = 32
IDLE = 10.0  # seconds that a connection may be silent
_HEADERS = {4: 28, 6: 48}  # IP and UDP

logger = logging.getLogger("wirebay")


@dataclass(frozen=True, kw_only=True, slots=True)
class DnsConfig:
    """`network` names the user network in the log; `mtu` is its, in bytes."""

    network: str
    names: LocalNames
    mtu: int
    endpoint: Endpoint = dns_port


class DnsServer:
    """The server. `drops` counts, by reason, the queries that were not answered or refused."""

    def __init__(self, config: DnsConfig, drops: Counter[str]) -> None:
        self.drops = drops
        self._config = config
        self._upstreams = Upstreams()
        self._asking: Counter[Hashable] = Counter()
        self._repeated: set[Hashable] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._complained = False

    def set_servers(self, servers: Iterable[Address]) -> None:
        """The host's DNS servers, best first."""
        self._upstreams.replace(servers)
        self._complained = False

    def handle(self, datagram: Datagram, channel: ServiceChannel) -> list[Datagram]:
        """Answer a datagram, at once where that is possible, else over `channel` later."""
        try:
            query = read_query(datagram.payload)
        except DnsError as error:
            return self._refuse(datagram, error)
        limit = query.limit(self._config.mtu - _HEADERS[datagram.source.version])
        if (answer := self._local(query)) is not None:
            return [datagram.answer(fit(answer, query, limit))]
        self._forward(datagram, query, limit, channel)
        return []

    async def serve_connection(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, guest: Hashable
    ) -> None:
        """Answer the queries of one TCP connection (RFC 7766), in turn, until it ends or is silent."""
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            try:
                while await self._serve_one(reader, writer, guest):
                    pass
            except TimeoutError:
                writer.transport.abort()  # one who takes nothing would keep what is still to be sent

    async def _serve_one(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, guest: Hashable
    ) -> bool:
        """Answer one query; False when that ends the connection."""
        async with asyncio.timeout(IDLE):
            data = await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
        answer = await self._answer_stream(data, guest)
        if answer is None:
            return False
        writer.write(len(answer).to_bytes(2, "big") + answer)
        async with asyncio.timeout(IDLE):
            await writer.drain()
        return True

    async def close(self) -> None:
        """End everything under way."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _refuse(self, datagram: Datagram, error: DnsError) -> list[Datagram]:
        self.drops[str(error)] += 1
        return [] if error.answer is None else [datagram.answer(error.answer)]

    def _local(self, query: Query) -> bytes | None:
        """The answer, if it is ours to give."""
        names = self._config.names
        if not query.internet:
            return None
        address = reverse_address(query.name)
        if address is not None and (name := names.name_of(address)) is not None:
            return pointer_answer(query, name)
        if (addresses := names.addresses(query.name)) is not None:
            return local_answer(query, addresses)
        alone = not self._upstreams.servers and names.is_local(query.name)
        return failure(query, NAME_ERROR) if alone or names.is_ours(query.name) else None

    def _forward(self, datagram: Datagram, query: Query, limit: int, channel: ServiceChannel) -> None:
        question = (datagram.mac, datagram.source, datagram.source_port, datagram.payload)
        if question in self._repeated:
            self.drops["repeated"] += 1
        elif not self._has_room(datagram.mac):
            self.drops["too_many"] += 1
        else:
            self._repeated.add(question)
            self._asking[datagram.mac] += 1  # now: the task begins only when others have been taken as well
            task = asyncio.get_running_loop().create_task(self._ask_for(datagram, query, limit, channel))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            task.add_done_callback(lambda _: self._repeated.discard(question))
            task.add_done_callback(lambda _: self._asked(datagram.mac))

    async def _ask_for(self, datagram: Datagram, query: Query, limit: int, channel: ServiceChannel) -> None:
        answer = await self._ask(query, tcp=False)
        channel.send(datagram.answer(fit(answer, query, limit)))

    async def _answer_stream(self, data: bytes, guest: Hashable) -> bytes | None:
        try:
            query = read_query(data)
        except DnsError as error:
            self.drops[str(error)] += 1
            return error.answer
        if (answer := self._local(query)) is not None:
            return answer
        if not self._has_room(guest):
            self.drops["too_many"] += 1
            return failure(query, SERVER_FAILURE)
        self._asking[guest] += 1
        try:
            return await self._ask(query, tcp=True)
        finally:
            self._asked(guest)

    def _has_room(self, guest: Hashable) -> bool:
        return self._asking.total() < MAX_LOOKUPS and self._asking[guest] < MAX_LOOKUPS_OF_GUEST

    def _asked(self, guest: Hashable) -> None:
        """One lookup of the guest is over."""
        self._asking[guest] -= 1
        if not self._asking[guest]:
            del self._asking[guest]

    async def _ask(self, query: Query, *, tcp: bool) -> bytes:
        answer = await ask(self._upstreams, query, tcp=tcp, endpoint=self._config.endpoint)
        if answer is None:
            self._complain()
            return failure(query, SERVER_FAILURE)
        self._complained = False
        return answer

    def _complain(self) -> None:
        """One sentence, until a server answers or there are others."""
        self.drops["no_server_answered"] += 1
        if self._complained:
            return
        self._complained = True
        servers = ", ".join(map(str, self._upstreams.servers))
        reason = f"none of this host's DNS servers answers ({servers})" if servers else NO_SERVER
        logger.warning("user network '%s': %s; names are not resolved", self._config.network, reason)


NO_SERVER = "this host has no DNS server in /etc/resolv.conf"
