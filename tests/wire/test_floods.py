"""A guest that floods the user network: memory stays bounded, and its neighbour is served meanwhile.

The flooding guest reads nothing of what it is answered, which is harder on the worker than one that does. Its
addresses and ports are random, as those of a flood are.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from itertools import count, islice
from pathlib import Path
from typing import cast

import dns.message
import pytest

from tests.wire.guest import GATEWAY, GUEST, Guest
from tests.wire.packets import (
    ARP,
    BROADCAST,
    ICMP,
    IPV4,
    SYN,
    UDP,
    Segment,
    arp,
    checksum,
    dhcp,
    echo_request,
    ethernet,
    ipv4,
    parse_dhcp,
    udp,
)
from wirebay.network import Network
from wirebay.ports.user import UserPort

pytestmark = pytest.mark.anyio

IPV6, ICMPV6 = 0x86DD, 58
DNS = "10.0.2.3"
PATIENCE = 15.0  # seconds for one service, under all of this ...
AGAIN = 0.5  # ... and after which a client asks once more
BATCH = 64  # frames in one write
MOST_MEMORY = 48 << 20  # what a flood may cost in bytes: a quarter of the largest table of flows, and room
GATEWAY_MAC, DNS_MAC = bytes.fromhex("52550a000202"), bytes.fromhex("52550a000203")


@dataclass(frozen=True)
class Place:
    """What guests find on this host: ports of 127.0.0.1."""

    echo: int
    """Answers datagrams and accepts connections."""
    mute: int
    """Does neither."""


Flood = Callable[[random.Random, Place], Iterator[bytes]]


def mac(rng: random.Random) -> bytes:
    return b"\x52" + rng.randbytes(5)


def address(rng: random.Random) -> str:
    return f"10.0.2.{rng.randrange(20, 250)}"


def arp_requests(rng: random.Random, _: Place) -> Iterator[bytes]:
    while True:
        sender = mac(rng)
        yield ethernet(BROADCAST, sender, ARP, arp(1, sender, address(rng), bytes(6), GATEWAY))


def neighbor_solicitations(rng: random.Random, _: Place) -> Iterator[bytes]:
    """RFC 4861 section 4.3: who has fec0::2?"""
    target, group = IPv6Address("fec0::2").packed, IPv6Address("ff02::1:ff00:2").packed
    while True:
        sender, source = mac(rng), IPv6Address("fec0::").packed[:8] + rng.randbytes(8)
        rest = bytes(4) + target + b"\x01\x01" + sender
        pseudo = source + group + struct.pack("!II", 4 + len(rest), ICMPV6)
        message = struct.pack("!BBH", 135, 0, checksum(pseudo + b"\x87\0\0\0" + rest)) + rest
        header = struct.pack("!IHBB", 6 << 28, len(message), ICMPV6, 255)
        yield ethernet(b"\x33\x33\xff\x00\x00\x02", sender, IPV6, header + source + group + message)


def discovers(rng: random.Random, _: Place) -> Iterator[bytes]:
    while True:
        sender = mac(rng)
        message = dhcp(sender, {53: b"\x01", 12: rng.randbytes(5).hex().encode()})
        yield ethernet(BROADCAST, sender, IPV4, udp(("0.0.0.0", 68), ("255.255.255.255", 67), message))


def syns(rng: random.Random, place: Place) -> Iterator[bytes]:
    while True:
        here = (address(rng), rng.randrange(1, 65536))
        segment = Segment(here, (GATEWAY, place.mute), rng.randrange(1 << 32), 0, SYN)
        yield ethernet(GATEWAY_MAC, mac(rng), IPV4, segment.pack())


def datagrams(_: random.Random, place: Place) -> Iterator[bytes]:
    """From every port of a guest, then of another: without checksum, which is quicker to make."""
    for number in count(20):
        start = ethernet(GATEWAY_MAC, b"\x52\0\0\0\0" + bytes((number,)), IPV4, b"")
        start += ipv4(UDP, f"10.0.2.{number}", GATEWAY, bytes(9))[:20]
        for port in range(1, 65536):
            yield start + struct.pack("!HHHH", port, place.mute, 9, 0) + b"x"


def fragments(rng: random.Random, place: Place) -> Iterator[bytes]:
    """First fragments whose rest never comes."""
    while True:
        packet = bytearray(
            ipv4(UDP, address(rng), GATEWAY, struct.pack("!HHHH", 1, place.mute, 9000, 0) + bytes(1400))
        )
        packet[4:8] = rng.randbytes(2) + b"\x20\x00"
        packet[10:12] = bytes(2)
        packet[10:12] = checksum(bytes(packet[:20])).to_bytes(2, "big")
        yield ethernet(GATEWAY_MAC, mac(rng), IPV4, bytes(packet))


def queries(rng: random.Random, _: Place) -> Iterator[bytes]:
    question = dns.message.make_query("x.example.", "A", id=0).to_wire()
    while True:
        query = rng.randbytes(2) + question[2:13] + rng.choice(b"abcdefgh").to_bytes(1, "big") + question[14:]
        packet = udp((address(rng), rng.randrange(1, 65536)), (DNS, 53), query)
        yield ethernet(DNS_MAC, mac(rng), IPV4, packet)


FLOODS: list[tuple[Flood, int]] = [
    (arp_requests, 40_000),
    (neighbor_solicitations, 40_000),
    (discovers, 20_000),
    (syns, 40_000),
    (datagrams, 150_000),
    (fragments, 40_000),
    (queries, 20_000),
]


@pytest.fixture
async def place(anyio_backend: str) -> AsyncIterator[Place]:
    loop = asyncio.get_running_loop()

    class Echo(asyncio.DatagramProtocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = cast(asyncio.DatagramTransport, transport)

        def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
            self.transport.sendto(data, addr)

    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    answering, _ = await loop.create_datagram_endpoint(Echo, ("127.0.0.1", port))
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket(type=socket.SOCK_DGRAM) as sink:
        sink.bind(listener.getsockname())
        yield Place(echo=port, mute=listener.getsockname()[1])
    answering.close()
    server.close()


@pytest.fixture(autouse=True)
def resolvers(monkeypatch: pytest.MonkeyPatch, place: Place) -> None:
    """The host's one name server is on this host, and never answers."""

    async def follow(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr("wirebay.ports.user.read_resolvers", lambda: [IPv4Address("127.0.0.1")])
    monkeypatch.setattr("wirebay.ports.user.follow_resolvers", follow)
    monkeypatch.setattr("wirebay.services.dns_upstream.dns_port", lambda _: ("127.0.0.1", place.mute))


class Pouring:
    """Frames being sent to the network by `guest`, without an end; `sent` counts them."""

    def __init__(self, guest: Guest, frames: Iterator[bytes]) -> None:
        self.sent = 0
        self._task = asyncio.ensure_future(self._pour(guest, frames))

    async def _pour(self, guest: Guest, frames: Iterator[bytes]) -> None:
        for _ in count():
            batch = list(islice(frames, BATCH))
            await guest.write(b"".join(struct.pack("!I", len(frame)) + frame for frame in batch))
            self.sent += len(batch)
            await asyncio.sleep(0)

    async def end(self) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task


def memory(pid: int) -> tuple[int, int]:
    """What a process has and the most it ever had, in bytes."""
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    now, most = (int(lines[name].split()[0]) << 10 for name in ("VmRSS", "VmHWM"))
    return now, most


async def in_time(service: Awaitable[None]) -> bool:
    """Whether a service is there soon enough; a client asks again otherwise: what crosses a network may get
    lost."""
    try:
        async with asyncio.timeout(AGAIN):
            await service
    except TimeoutError:
        return False
    return True


class Neighbour:
    """A guest that wants what guests want, each time from a port of its own."""

    def __init__(self, guest: Guest, place: Place) -> None:
        self._guest = guest
        self._place = place
        self._ports = count(20_000)

    async def is_served(self) -> None:
        """Raises AssertionError when something is not to be had, however often it is asked for."""
        for service in (self._ping, self._lease, self._name, self._datagram, self._connection):
            end = time.monotonic() + PATIENCE
            while not await in_time(service()):
                assert time.monotonic() < end, f"no answer:{service.__name__}"

    async def _ping(self) -> None:
        number = next(self._ports)
        await self._guest.send_ipv4(ICMP, GATEWAY, echo_request(number, b"neighbour"))
        wanted = echo_request(number, b"neighbour", kind=0)
        await self._guest.packet(lambda packet: packet.payload == wanted)

    async def _lease(self) -> None:
        server = await self._dhcp({53: b"\x01"}, b"\x02")
        await self._dhcp({53: b"\x03", 50: IPv4Address(GUEST).packed, 54: server}, b"\x05")

    async def _dhcp(self, options: dict[int, bytes], kind: bytes) -> bytes:
        """Ask, and wait for an answer of this kind; returns who gave it."""
        message = dhcp(self._guest.mac, options)
        await self._guest.send_udp(("0.0.0.0", 68), ("255.255.255.255", 67), message)
        while True:
            _, data = await self._guest.datagram(68)
            address, told = parse_dhcp(data)
            if (data[28:34], told[53]) == (self._guest.mac, kind):
                assert address == GUEST
                return told[54]

    async def _ask(self, server: tuple[str, int], data: bytes) -> bytes:
        port = next(self._ports)
        await self._guest.send_udp((GUEST, port), server, data)
        return (await self._guest.datagram(port))[1]

    async def _name(self) -> None:
        query = dns.message.make_query("gateway.wirebay.internal.", "A")
        answer = dns.message.from_wire(await self._ask((DNS, 53), query.to_wire()))
        assert str(answer.answer[0][0]) == GATEWAY

    async def _datagram(self) -> None:
        assert await self._ask((GATEWAY, self._place.echo), b"echo") == b"echo"

    async def _connection(self) -> None:
        connection = await self._guest.connect(GATEWAY, self._place.echo, next(self._ports))
        await connection.finished()


@pytest.mark.parametrize(("flood", "frames"), FLOODS, ids=lambda part: getattr(part, "__name__", ""))
async def test_a_flood_is_bounded_and_the_neighbour_is_served(
    network: Network, place: Place, flood: Flood, frames: int
) -> None:
    user = await network.add("user", id="u0")
    assert isinstance(user, UserPort)
    quiet, first = await Guest.on(network, "vm0")
    loud, second = await Guest.on(network, "vm1", 2)
    await network.join(user, first, second)
    with quiet, loud:
        await quiet.announce()
        neighbour = Neighbour(quiet, place)
        await neighbour.is_served()
        before, _ = memory(network.worker.pid)
        flooding = Pouring(loud, flood(random.Random(7), place))
        while flooding.sent < frames:
            await neighbour.is_served()
        await flooding.end()
        _, most = memory(network.worker.pid)
    assert most - before < MOST_MEMORY
