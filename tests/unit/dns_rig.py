"""DNS servers of a host, on loopback, and a guest's end of the service channel."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from ipaddress import IPv4Address, ip_address, ip_network
from typing import cast

import dns.flags
import dns.message
import dns.rrset

from tests.unit.lab import until
from wirebay.options.types import Address
from wirebay.services.channel import Datagram, ServiceChannel, decode, encode
from wirebay.services.dns import DnsService
from wirebay.services.dns_names import LocalNames

Answer = Callable[[dns.message.Message], dns.message.Message | bytes | None]

GUEST = bytes.fromhex("525400123456")
DNS = ip_address("10.0.2.3")
HOST = ip_address("10.0.2.2")


class Upstream(asyncio.DatagramProtocol):
    """A DNS server over UDP and TCP; `answer` makes its answers, None is silence. `asked` are the queries."""

    def __init__(self, address: Address, answer: Answer, tcp_answer: Answer | None = None) -> None:
        self.address = address
        self.answer = answer
        self.tcp_answer = tcp_answer or answer
        self.asked: list[dns.message.Message] = []
        self.senders: set[int] = set()
        self.endpoint = ("127.0.0.1", 0)
        self._transport: asyncio.DatagramTransport

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        server, transport = await self._listen()
        try:
            yield
        finally:
            transport.close()
            server.close()
            await server.wait_closed()

    async def _listen(self) -> tuple[asyncio.Server, asyncio.DatagramTransport]:
        """Both protocols on one port, which somebody else may have for the second one."""
        loop = asyncio.get_running_loop()
        while True:
            server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
            self.endpoint = server.sockets[0].getsockname()
            try:
                transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=self.endpoint)
            except OSError as error:
                server.close()
                if error.errno != errno.EADDRINUSE:
                    raise
            else:
                return server, transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.senders.add(addr[1])
        if (answer := self._make(self.answer, data)) is not None:
            self._transport.sendto(answer, addr)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        data = await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
        if (answer := self._make(self.tcp_answer, data)) is not None:
            writer.write(len(answer).to_bytes(2, "big") + answer)
        writer.close()

    def _make(self, answer: Answer, data: bytes) -> bytes | None:
        query = dns.message.from_wire(data)
        self.asked.append(query)
        made = answer(query)
        return made.to_wire(max_size=65535) if isinstance(made, dns.message.Message) else made


def a_record(text: str = "192.0.2.80") -> Answer:
    """An answer with one A record."""

    def make(query: dns.message.Message) -> dns.message.Message:
        answer = dns.message.make_response(query)
        answer.answer.append(dns.rrset.from_text(query.question[0].name, 60, "IN", "A", text))
        return answer

    return make


def texts(count: int) -> Answer:
    """An answer of `count` texts of 200 bytes."""

    def make(query: dns.message.Message) -> dns.message.Message:
        answer = dns.message.make_response(query)
        some = [f'"{number:0200}"' for number in range(count)]
        answer.answer.append(dns.rrset.from_text(query.question[0].name, 60, "IN", "TXT", *some))
        return answer

    return make


def truncated(query: dns.message.Message) -> dns.message.Message:
    """An answer that is not whole."""
    answer = dns.message.make_response(query)
    answer.flags |= dns.flags.TC
    return answer


def rcode(code: int) -> Answer:
    """A refusal."""

    def make(query: dns.message.Message) -> dns.message.Message:
        answer = dns.message.make_response(query)
        answer.set_rcode(dns.rcode.Rcode(code))
        return answer

    return make


def silence(_: dns.message.Message) -> None:
    """No answer."""


class Guest:
    """The worker's end of the channel, and a service behind the other."""

    def __init__(self, service: DnsService, channel: ServiceChannel, end: socket.socket) -> None:
        self.service, self.channel, self.end = service, channel, end

    def send(self, message: dns.message.Message | bytes, port: int = 4000, mac: bytes = GUEST) -> None:
        payload = message if isinstance(message, bytes) else message.to_wire()
        datagram = Datagram(
            mac=mac, source=IPv4Address("10.0.2.15"), destination=DNS, source_port=port, destination_port=53,
            payload=payload,
        )  # fmt: skip
        self.end.send(encode(datagram))

    async def receive(self) -> bytes:
        packet = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(self.end, 65536), 10)
        datagram = decode(packet)
        assert (datagram.source, datagram.source_port) == (DNS, 53)
        return datagram.payload

    async def ask(self, message: dns.message.Message | bytes) -> dns.message.Message:
        self.send(message)
        answer = dns.message.from_wire(await self.receive())
        if isinstance(message, dns.message.Message):
            assert answer.id == message.id
            assert answer.question == message.question
        return answer

    async def dropped(self, reason: str, times: int = 1) -> None:
        await asyncio.wait_for(until(lambda: self.service.drops[reason] >= times), 10)


def question(name: str = "example.org.", rdtype: str = "A", edns: int | None = None) -> dns.message.Message:
    message = dns.message.make_query(name, rdtype, use_edns=False)
    if edns is not None:
        message.use_edns(0, payload=edns)
    return message


@asynccontextmanager
async def rig(upstreams: Iterable[Upstream] = (), domains: Iterable[str] = ("lan",)) -> AsyncIterator[Guest]:
    """A DNS service whose servers are `upstreams`."""
    known = {upstream.address: upstream for upstream in upstreams}
    names = LocalNames(
        host=[HOST, ip_address("fec0::2")],
        networks=[ip_network("10.0.2.0/24")],
        guests=lambda: {"vm": [ip_address("10.0.2.15")]},
        domains=domains,
        records=[("many", ip_address(f"192.0.2.{last}")) for last in range(100)],
    )
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    theirs.setblocking(False)
    channel = ServiceChannel(ours)
    service = DnsService("u0", names, 1500, channel, lambda server: known[server].endpoint)
    channel.register(DNS, 53, service.handle)
    async with AsyncExitStack() as stack:
        for upstream in known.values():
            await stack.enter_async_context(upstream.running())
        await service.set_servers(known)
        task = asyncio.create_task(channel.serve())
        try:
            with theirs:
                yield Guest(service, channel, theirs)
        finally:
            await service.close()
            await asyncio.wait_for(task, 5)
            channel.close()
