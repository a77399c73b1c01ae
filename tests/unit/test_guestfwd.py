"""guestfwd: each kind of target over TCP, and UDP with its conversations."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Literal

import pytest

from tests.unit.lab import open_descriptors, until
from wirebay.errors import HostError, OptionError
from wirebay.options.types import CommandTarget, GuestForward, InetTarget, UnixTarget
from wirebay.services import guestfwd_udp
from wirebay.services.channel import Datagram, ServiceChannel, decode
from wirebay.services.guestfwd import connector
from wirebay.services.guestfwd_udp import UdpForward
from wirebay.services.programs import Programs
from wirebay.services.tcp import Client

pytestmark = pytest.mark.anyio

SERVER = ip_address("10.0.2.100")
GUEST = Client(ip_address("10.0.2.15"), 4000)
Target = CommandTarget | UnixTarget | InetTarget


def rule(target: Target, proto: Literal["tcp", "udp"] = "tcp") -> GuestForward:
    return GuestForward(proto=proto, server=SERVER, port=7, target=target, text="the rule")


async def test_a_command_is_split_as_a_shell_would_and_runs_without_one() -> None:
    running = Programs(1)
    connect = connector(rule(CommandTarget(command="""printf '%s|' "a b" $HOME ';'""")), running)
    with await connect(GUEST) as far:
        far.setblocking(False)
        assert await asyncio.get_running_loop().sock_recv(far, 100) == b"a b|$HOME|;|"
    await running.close()


@pytest.mark.parametrize("command", ["", "  ", "'open"])
async def test_no_command_is_refused_when_the_network_opens(command: str) -> None:
    with pytest.raises(OptionError, match="Invalid guest forwarding rule 'the rule'"):
        connector(rule(CommandTarget(command=command)), Programs(1))


async def test_a_unix_socket_is_connected_to(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        with await connector(rule(UnixTarget(path=path)), Programs(1))(GUEST) as far:
            near, _ = listener.accept()
            with near:
                near.send(b"hello")
                assert far.recv(10) == b"hello"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_server_is_connected_to(host: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        target = InetTarget(host=host, port=listener.getsockname()[1])
        with await connector(rule(target), Programs(1))(GUEST) as far:
            assert far.getpeername() == listener.getsockname()


async def test_one_that_cannot_be_reached_is_told(tmp_path: Path) -> None:
    with pytest.raises(HostError, match=r"Failed to connect to '.*/s': No such file or directory"):
        await connector(rule(UnixTarget(path=str(tmp_path / "s"))), Programs(1))(GUEST)
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        target = InetTarget(host="127.0.0.1", port=bound.getsockname()[1])
        with pytest.raises(HostError, match="Connection refused"):
            await connector(rule(target), Programs(1))(GUEST)


class Rig:
    """A rule over UDP and the worker's end of the channel."""

    def __init__(self, forward: UdpForward, worker: socket.socket) -> None:
        self.forward, self.worker = forward, worker

    def send(self, payload: bytes, port: int = 4000) -> None:
        datagram = Datagram(
            mac=b"\2" * 6, source=GUEST.address, destination=SERVER, source_port=port, destination_port=7,
            payload=payload,
        )  # fmt: skip
        assert self.forward.handle(datagram) == []

    async def receive(self) -> Datagram:
        loop = asyncio.get_running_loop()
        return decode(await asyncio.wait_for(loop.sock_recv(self.worker, 65536), 10))


@asynccontextmanager
async def forwarded(target: Target) -> AsyncIterator[Rig]:
    before = open_descriptors()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    theirs.setblocking(False)
    channel = ServiceChannel(ours)
    forward = UdpForward(rule(target, "udp"), channel)
    with theirs:
        yield Rig(forward, theirs)
        await forward.close()
    channel.close()
    await until(lambda: open_descriptors() == before)


class Echo(asyncio.DatagramProtocol):
    """A server that answers in capitals; `clients` are who asked."""

    def __init__(self) -> None:
        self.clients: list[object] = []
        self.send: Callable[[bytes, object], None]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.send = transport.sendto  # type: ignore[attr-defined]

    def datagram_received(self, data: bytes, addr: object) -> None:
        self.clients.append(addr)
        self.send(data.upper(), addr)


@asynccontextmanager
async def echo() -> AsyncIterator[tuple[Echo, InetTarget]]:
    loop = asyncio.get_running_loop()
    transport, server = await loop.create_datagram_endpoint(Echo, local_addr=("127.0.0.1", 0))
    try:
        yield server, InetTarget(host="localhost", port=transport.get_extra_info("sockname")[1])
    finally:
        transport.close()


async def test_answers_of_the_server_find_the_port_that_asked() -> None:
    async with echo() as (server, target), forwarded(target) as rig:
        for payload, port in ((b"one", 4000), (b"two", 4001), (b"three", 4000)):
            rig.send(payload, port)
            answer = await rig.receive()
            assert (answer.payload, answer.destination_port) == (payload.upper(), port)
            assert (answer.source, answer.source_port, answer.mac) == (SERVER, 7, b"\2" * 6)
    assert len(server.clients) == 3
    assert len(set(server.clients)) == 2


async def test_what_comes_while_the_name_is_resolved_is_kept_within_bounds() -> None:
    async with echo() as (_, target), forwarded(target) as rig:
        for number in range(guestfwd_udp.MAX_EARLY + 3):
            rig.send(b"%d" % number)
        assert rig.forward.drops == {"too_early": 3}
        answers = [(await rig.receive()).payload for _ in range(guestfwd_udp.MAX_EARLY)]
        assert answers == [b"%d" % number for number in range(guestfwd_udp.MAX_EARLY)]


async def test_a_server_on_a_unix_socket_can_answer(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        Echo, local_addr=path, family=socket.AF_UNIX
    )
    try:
        async with forwarded(UnixTarget(path=path)) as rig:
            rig.send(b"hello")
            assert (await rig.receive()).payload == b"HELLO"
    finally:
        transport.close()


async def test_a_server_that_takes_nothing_costs_no_memory(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(path)
        async with forwarded(UnixTarget(path=path)) as rig:
            rig.send(b"x")
            await until(lambda: bool(rig.forward._conversations) and not rig.forward._tasks)
            for _ in range(1000):
                rig.send(b"x" * 1000)
            assert rig.forward.drops["server_too_slow"] > 500


async def test_one_that_cannot_be_reached_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "wirebay")
    async with forwarded(UnixTarget(path=str(tmp_path / "s"))) as rig:
        for times in (1, 2, 3):
            rig.send(b"x")
            await until(lambda: rig.forward.drops["unreachable"] == times)  # noqa: B023
    (sentence,) = caplog.messages
    assert sentence.startswith("guest forwarding rule 'the rule': Failed to connect to")


async def test_a_port_that_is_closed_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "wirebay")
    with socket.socket(type=socket.SOCK_DGRAM) as closed:
        closed.bind(("127.0.0.1", 0))
        target = InetTarget(host="127.0.0.1", port=closed.getsockname()[1])
    async with forwarded(target) as rig:
        rig.send(b"x")
        await until(lambda: bool(rig.forward.drops))
    assert caplog.messages == [
        "guest forwarding rule 'the rule': the server cannot be reached: Connection refused"
    ]


async def test_of_too_many_conversations_the_most_silent_gives_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guestfwd_udp, "MAX_CONVERSATIONS", 2)
    async with echo() as (server, target), forwarded(target) as rig:
        for port in (1, 2, 1, 3, 1, 2):
            rig.send(b"x", port)
            await rig.receive()
    assert len(set(server.clients)) == 4


async def test_a_silent_conversation_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guestfwd_udp, "IDLE", 0.01)
    async with echo() as (_, target), forwarded(target) as rig:
        rig.send(b"x")
        await until(lambda: not rig.forward._conversations)
