"""DHCP over the service channel of docs/protocol.md."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import IPv4Address, IPv4Network

import pytest

from wirebay.services.dhcp import DhcpConfig, DhcpServer, serve_dhcp
from wirebay.services.dhcp_message import DhcpMessage, decode, encode

pytestmark = pytest.mark.anyio

CONFIG = DhcpConfig(
    net=IPv4Network("10.0.2.0/24"),
    host=IPv4Address("10.0.2.2"),
    dns=IPv4Address("10.0.2.3"),
    first=IPv4Address("10.0.2.15"),
)
MAC = bytes.fromhex("525400123456")
HEADER = struct.Struct("!6s4s4sHH")
DISCOVER = encode(DhcpMessage(op=1, xid=1, chaddr=MAC, options={53: b"\1"}))


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Guest:
    """The worker's end of a service channel."""

    def __init__(self, channel: socket.socket, server: DhcpServer, task: asyncio.Task[None]) -> None:
        self.channel = channel
        self.server = server
        self.task = task

    async def send(self, payload: bytes, port: int = 67) -> None:
        header = HEADER.pack(MAC, bytes(4), b"\xff" * 4, 68, port)
        await asyncio.get_running_loop().sock_sendall(self.channel, header + payload)

    async def receive(self) -> bytes:
        return await asyncio.wait_for(asyncio.get_running_loop().sock_recv(self.channel, 65536), 5)


@asynccontextmanager
async def service() -> AsyncIterator[Guest]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    theirs.setblocking(False)
    server = DhcpServer(CONFIG)
    task = asyncio.create_task(serve_dhcp(ours, server, lambda: 5.0))
    with ours, theirs:
        yield Guest(theirs, server, task)
        theirs.close()
        await asyncio.wait_for(task, 5)


async def test_an_answer_goes_back_with_the_header_of_the_channel() -> None:
    async with service() as guest:
        await guest.send(DISCOVER)
        datagram = await guest.receive()
    assert HEADER.unpack_from(datagram) == (b"\xff" * 6, bytes((10, 0, 2, 2)), b"\xff" * 4, 67, 68)
    assert decode(datagram[18:]).yiaddr == IPv4Address("10.0.2.15")


async def test_bad_datagrams_are_counted_and_the_service_goes_on() -> None:
    async with service() as guest:
        await asyncio.get_running_loop().sock_sendall(guest.channel, b"\1" * 17)
        await guest.send(DISCOVER, port=69)
        await guest.send(b"")
        await guest.send(DISCOVER)
        await guest.receive()
        assert guest.server.drops == {"bad_header": 1, "other_port": 1, "malformed": 1}


async def test_it_ends_when_the_worker_goes_while_an_answer_is_on_its_way() -> None:
    async with service() as guest:
        await guest.send(DISCOVER)
        guest.channel.close()
        await asyncio.wait_for(guest.task, 5)


async def test_a_guest_that_never_stops_does_not_keep_the_loop_for_itself() -> None:
    async with service() as guest:
        for _ in range(50):
            await guest.send(b"x" * 20)
        turns = 0
        while guest.server.drops.total() < 50:
            await asyncio.sleep(0)
            turns += 1
        assert turns >= 25
