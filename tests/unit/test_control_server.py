"""The control socket: who may connect, what a client may cost, and what stays behind."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

import pytest

from tests.unit.control import Desk, give_lease
from tests.unit.fake_worker import FakeWorker
from tests.unit.lab import lab, open_descriptors, unix_server, until, user
from wirebay.control import place, server
from wirebay.control.message import MAX_MESSAGE
from wirebay.control.server import ControlServer, controlled
from wirebay.network import Network

pytestmark = pytest.mark.anyio

READY = '{"execute": "qmp_capabilities"}'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "control.sock"


@asynccontextmanager
async def control(path: Path) -> AsyncIterator[tuple[Network, FakeWorker]]:
    """A network that listens there."""
    async with lab() as (network, fake), controlled(network, str(path)):
        yield network, fake


class Peer:
    """A client made of a socket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def at(cls, path: Path, *, ready: bool = True) -> Self:
        peer = cls(*await asyncio.open_unix_connection(path))
        if ready:
            assert "QMP" in await peer.receive()
            assert await peer.ask(READY) == {"return": {}}
        return peer

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.close()

    async def receive(self) -> dict[str, Any]:
        async with asyncio.timeout(10):
            line = await self.reader.readline()
        message: dict[str, Any] = json.loads(line) if line else {}
        return message

    async def ask(self, text: str) -> dict[str, Any]:
        self.writer.write(text.encode())
        return await self.receive()

    async def rest(self) -> bytes:
        """All that comes until the other side ends the connection."""
        async with asyncio.timeout(10):
            try:
                return await self.reader.read()
            except ConnectionError:
                return b""


async def test_a_client_is_greeted_and_answered(path: Path) -> None:
    async with control(path), await Peer.at(path, ready=False) as peer:
        greeting = (await peer.receive())["QMP"]
        assert greeting["capabilities"] == []
        assert greeting["version"]["package"].startswith("wirebay ")
        assert await peer.ask(READY) == {"return": {}}
        assert await peer.ask('{"execute": "query-status", "id": 1}') == {
            "return": {"status": "running", "running": True},
            "id": 1,
        }


async def test_commands_that_come_at_once_are_answered_in_their_order(path: Path) -> None:
    async with control(path), await Peer.at(path) as peer:
        many = "".join(f'{{"execute": "query-status", "id": {number}}}' for number in range(50))
        peer.writer.write(many.encode() + b'garbage\n{"execute": "query-status", "id": 50}')
        replies = [await peer.receive() for _ in range(52)]
        assert [reply.get("id") for reply in replies] == [*range(50), None, 50]


async def test_a_command_that_takes_long_holds_up_only_its_own_client(path: Path) -> None:
    async with control(path) as (network, fake), await Peer.at(path) as slow, await Peer.at(path) as fast:
        await network.add(user())
        fake.silent.add("guest_ping")
        slow.writer.write(b'{"execute": "wirebay-ping"}{"execute": "query-status", "id": 1}')
        await fake.asked("guest_ping")
        assert (await fast.ask('{"execute": "query-status", "id": 2}'))["id"] == 2


async def test_a_command_whose_client_has_left_runs_to_its_end(path: Path, tmp_path: Path) -> None:
    netdev = {"type": "stream", "id": "vm0", "server": True}
    netdev |= {"addr": {"type": "unix", "path": str(tmp_path / "sock")}}
    async with control(path) as (network, fake):
        async with await Peer.at(path) as peer:
            peer.writer.write(json.dumps({"execute": "netdev_add", "arguments": netdev}).encode())
            await peer.writer.drain()
        await fake.asked("stream_add")
        await until((tmp_path / "sock").is_socket)
        assert "vm0" in network.ports


async def test_events_go_to_all_who_have_negotiated(path: Path, tmp_path: Path) -> None:
    async with (
        control(path) as (network, fake),
        await Peer.at(path) as one,
        await Peer.at(path) as two,
        await Peer.at(path, ready=False) as new,
    ):
        await new.receive()
        await network.add(unix_server("vm0", tmp_path / "vm0"))
        with socket.socket(socket.AF_UNIX) as guest:
            guest.connect(str(tmp_path / "vm0"))
            await fake.asked("stream_attach")
        fake.send({"event": "stream_closed", "port": "vm0", "reason": "it left"})
        fake.send({"event": "port_failed", "port": "vm0", "reason": "it broke"})
        for peer in (one, two):
            events = [await peer.receive() for _ in range(3)]
            assert [(event["event"], event["data"]) for event in events] == [
                (
                    "NETDEV_STREAM_CONNECTED",
                    {"netdev-id": "vm0", "addr": {"type": "unix", "path": str(tmp_path / "vm0")}},
                ),
                ("NETDEV_STREAM_DISCONNECTED", {"netdev-id": "vm0"}),
                ("WIREBAY_PORT_FAILED", {"netdev-id": "vm0", "reason": "it broke"}),
            ]
            assert set(events[0]["timestamp"]) == {"seconds", "microseconds"}
        assert await new.ask(READY) == {"return": {}}


async def test_the_address_of_a_peer_over_tcp_is_told_as_qemu_tells_it(path: Path) -> None:
    async with control(path) as (network, _), await Peer.at(path) as peer:
        port = await network.add(
            "stream", id="vm0", server=True, addr={"type": "inet", "host": "127.0.0.1", "port": "0"}
        )
        number = int(port.describe().rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", number)) as guest:
            event = await peer.receive()
            host, source = guest.getsockname()
        assert event["data"]["addr"] == {"type": "inet", "host": host, "port": str(source), "ipv4": True}


async def test_a_message_that_is_too_long_ends_the_conversation_with_a_sentence(path: Path) -> None:
    async with control(path), await Peer.at(path) as peer, await Peer.at(path) as other:
        peer.writer.write(b'{"execute": "' + b"x" * MAX_MESSAGE)
        reply = await peer.receive()
        assert reply["error"]["desc"] == f"the message is longer than {MAX_MESSAGE} bytes"
        assert await peer.rest() == b""
        assert "return" in await other.ask('{"execute": "query-status"}')


async def test_a_client_too_many_is_told_so_and_the_place_of_one_that_left_is_free(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "MAX_CLIENTS", 1)
    async with control(path):
        async with await Peer.at(path), await Peer.at(path, ready=False) as second:
            sentence = (await second.receive())["error"]["desc"]
            assert sentence == "1 clients are connected already"
            assert await second.rest() == b""
        while True:
            async with await Peer.at(path, ready=False) as third:
                if "QMP" in await third.receive():
                    break


async def test_a_client_that_does_not_read_its_events_is_dropped(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with control(path) as (network, _), await Peer.at(path) as lazy, await Peer.at(path) as other:
        lazy.writer.transport.pause_reading()  # type: ignore[attr-defined]
        for number in itertools.count():  # about different things, or they would be thinned
            if "does not read" in caplog.text:
                break
            network.tell("WIREBAY_TEST", {"netdev-id": str(number), "text": "x" * 10_000})
            assert (await other.receive())["event"] == "WIREBAY_TEST"
        lazy.writer.transport.resume_reading()  # type: ignore[attr-defined]
        await lazy.rest()
        assert "return" in await other.ask('{"execute": "query-status"}')


async def test_a_client_that_does_not_read_its_replies_is_dropped(
    path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "PATIENCE", 0.01)
    async with control(path), await Peer.at(path) as lazy:
        lazy.writer.transport.pause_reading()  # type: ignore[attr-defined]
        request = b'{"execute": "query-commands"}'
        while "does not read" not in caplog.text:
            lazy.writer.write(request * 100)
            await asyncio.sleep(0)


async def test_others_are_turned_away(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with control(path):
        monkeypatch.setattr(os, "geteuid", lambda: 4711)
        monkeypatch.setattr(place, "ROOT", 4712)
        async with await Peer.at(path, ready=False) as peer:
            assert "controlled by its owner only" in (await peer.receive())["error"]["desc"]
            assert await peer.rest() == b""
        assert "was turned away from the control socket" in caplog.text


async def test_closing_ends_clients_and_leaves_nothing(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    before = open_descriptors()
    async with control(path) as (network, fake):
        await network.add(user())
        fake.silent.add("guest_ping")
        waiting = await Peer.at(path)
        waiting.writer.write(b'{"execute": "wirebay-ping"}')
        await fake.asked("guest_ping")
        idle = await Peer.at(path)
    for peer in (waiting, idle):
        assert await peer.rest() == b""
        peer.writer.close()
        await peer.writer.wait_closed()
    await until(lambda: open_descriptors() <= before)
    assert not caplog.records


async def test_a_client_that_comes_at_the_last_moment_is_closed_too(path: Path) -> None:
    async with control(path) as (network, _):
        late = ControlServer(network)
        ours, theirs = socket.socketpair()
        peer = Peer(*await asyncio.open_unix_connection(sock=theirs))
        late.serve(*await asyncio.open_unix_connection(sock=ours))
        await late.close()
        assert await peer.rest() == b""
        peer.writer.close()


async def test_a_lease_is_told(path: Path) -> None:
    async with control(path) as (network, fake), await Peer.at(path) as peer:
        give_lease(await Desk(network, fake).user(), 1)
        event = await peer.receive()
        assert event["event"] == "WIREBAY_LEASE"
        lease = {"netdev-id": "u0", "mac": "52:54:00:00:00:01", "address": "10.0.2.15", "name": None}
        assert event["data"] == lease
