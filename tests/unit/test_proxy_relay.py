"""Forwards with the PROXY protocol, with real sockets on loopback and a worker that takes what it gets."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_address
from pathlib import Path

import pytest

from tests.unit.lab import open_descriptors, until
from wirebay.errors import HostError
from wirebay.options.types import Address, HostForward
from wirebay.services import proxy_relay
from wirebay.services.proxy import Peers, decode, encode, missing
from wirebay.services.proxy_relay import ProxyForward

pytestmark = pytest.mark.anyio

TOLD = Peers(
    source=ip_address("192.0.2.1"), destination=ip_address("192.0.2.2"), source_port=4000, destination_port=80
)


class Rig:
    """A listening forward; `taken` are the sockets that the worker got, with who they come from."""

    def __init__(self, rule: HostForward, listener: socket.socket) -> None:
        self.taken: asyncio.Queue[tuple[socket.socket, Address, int]] = asyncio.Queue()
        self.refusal: HostError | None = None
        self.drops: Counter[str] = Counter()
        self.address = listener.getsockname()
        self.family = listener.family
        self.forward = ProxyForward(listener, rule, self.hand_over, self.drops)

    async def hand_over(self, sock: socket.socket, client: Address, port: int) -> None:
        if self.refusal:
            raise self.refusal
        copy = sock.dup()
        copy.settimeout(10)
        await self.taken.put((copy, client, port))

    async def connect(self, data: bytes = b"") -> socket.socket:
        client = socket.socket(self.family)
        client.setblocking(False)
        await asyncio.get_running_loop().sock_connect(client, self.address)
        client.send(data)
        return client

    async def take(self) -> tuple[socket.socket, Address, int]:
        return await asyncio.wait_for(self.taken.get(), 10)


@asynccontextmanager
async def forward(
    *, proxy_in: bool = False, proxy_out: bool = False, listener: socket.socket | None = None
) -> AsyncIterator[Rig]:
    localhost = ip_address("127.0.0.1")
    rule = HostForward(
        proto="tcp", host_addr=localhost, host_port=0, guest_addr=None, guest_port=80, text="rule",
        proxy_in=proxy_in, proxy_out=proxy_out,
    )  # fmt: skip
    listener = listener or socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    rig = Rig(rule, listener)
    task = asyncio.create_task(rig.forward.serve())
    try:
        yield rig
    finally:
        task.cancel()
        await asyncio.wait([task])
        rig.forward.close()
        while not rig.taken.empty():
            rig.taken.get_nowait()[0].close()


async def ended(sock: socket.socket) -> bytes:
    """What comes until the end."""
    received = b""
    try:
        while data := await asyncio.wait_for(asyncio.get_running_loop().sock_recv(sock, 100000), 10):
            received += data
    except ConnectionResetError:
        pass
    return received


@pytest.mark.parametrize("head", [encode(TOLD), b"PROXY TCP4 192.0.2.1 192.0.2.2 4000 80\r\n"])
async def test_the_client_is_the_one_that_the_header_names_and_the_rest_stays(head: bytes) -> None:
    async with forward(proxy_in=True) as rig:
        with await rig.connect(head + b"hello"):
            sock, client, port = await rig.take()
            with sock:
                assert (str(client), port) == ("192.0.2.1", 4000)
                assert sock.recv(100) == b"hello"


async def test_a_header_may_come_byte_by_byte() -> None:
    async with forward(proxy_in=True) as rig:
        with await rig.connect() as client:
            for byte in encode(TOLD):
                client.send(bytes((byte,)))
                await asyncio.sleep(0)
            sock, source, _ = await rig.take()
            sock.close()
            assert str(source) == "192.0.2.1"


async def test_where_the_header_names_nobody_the_client_is_who_connected() -> None:
    async with forward(proxy_in=True) as rig:
        with await rig.connect(encode(None)) as client:
            sock, source, port = await rig.take()
            sock.close()
            assert (str(source), port) == client.getsockname()


@pytest.mark.parametrize("head", [b"GET / HTTP/1.1\r\n\r\n", encode(TOLD)[:20]])
async def test_a_bad_header_ends_its_connection_and_is_told_once(
    head: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "wirebay")
    async with forward(proxy_in=True) as rig:
        for _ in range(3):
            with await rig.connect(head) as client:
                client.shutdown(socket.SHUT_WR)
                assert await ended(client) == b""
        assert rig.drops == {"bad_header": 3}
        assert rig.taken.empty()
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith("host forwarding rule 'rule': connections without a PROXY header")


async def test_a_slow_header_ends_its_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxy_relay, "PATIENCE", 0.05)
    async with forward(proxy_in=True) as rig:
        with await rig.connect(b"PROXY TCP4") as client:
            assert await ended(client) == b""
        assert rig.drops == {"slow_header": 1}


async def test_of_too_many_that_wait_the_oldest_gives_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxy_relay, "MAX_READING", 2)
    async with forward(proxy_in=True) as rig:
        clients = []
        for _ in range(3):
            clients.append(await rig.connect())
            await until(lambda: len(rig.forward._reading) == min(2, len(clients)))
        assert await ended(clients[0]) == b""
        assert rig.drops == {"too_many": 1}
        clients[2].send(encode(TOLD))
        (await rig.take())[0].close()
        for client in clients:
            client.close()


async def read_head(sock: socket.socket) -> bytes:
    head = b""
    while more := missing(head):
        head += await asyncio.to_thread(sock.recv, more)
    return head


async def test_the_guest_gets_a_header_and_both_ways_are_relayed_to_their_ends() -> None:
    async with forward(proxy_out=True) as rig:
        with await rig.connect(b"hello") as client:
            sock, source, port = await rig.take()
            with sock:
                told = decode(await read_head(sock))
                assert told is not None
                assert (told.source, told.source_port) == (source, port)
                assert (str(source), port) == client.getsockname()
                assert told.destination_port == rig.address[1]
                assert await asyncio.to_thread(sock.recv, 100) == b"hello"
                client.shutdown(socket.SHUT_WR)
                assert await asyncio.to_thread(sock.recv, 100) == b""
                await asyncio.to_thread(sock.sendall, b"x" * 1000000)
            assert len(await ended(client)) == 1000000
        await until(lambda: not rig.forward._relays)


async def test_a_header_that_came_in_is_told_on() -> None:
    async with forward(proxy_in=True, proxy_out=True) as rig:
        with await rig.connect(encode(TOLD) + b"hello"):
            sock, source, _ = await rig.take()
            with sock:
                assert str(source) == "192.0.2.1"
                assert decode(await read_head(sock)) == TOLD
                assert await asyncio.to_thread(sock.recv, 100) == b"hello"


async def test_a_client_on_a_unix_socket_has_no_address(tmp_path: Path) -> None:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "s"))
    listener.listen()
    async with forward(proxy_out=True, listener=listener) as rig:
        with await rig.connect():
            sock, source, port = await rig.take()
            with sock:
                assert (str(source), port) == ("0.0.0.0", 0)
                assert decode(await read_head(sock)) is None


async def test_a_connection_that_the_worker_refuses_is_ended() -> None:
    async with forward(proxy_out=True) as rig:
        rig.refusal = HostError("no")
        with await rig.connect() as client:
            assert await ended(client) == b""


async def test_the_end_of_the_forward_ends_its_relays_and_leaves_nothing() -> None:
    before = open_descriptors()
    async with forward(proxy_out=True) as rig:
        client = await rig.connect()
        (await rig.take())[0].close()
        waiting = await rig.connect()
    client.close()
    waiting.close()
    assert open_descriptors() == before
