"""Connections of guests to services in Python: what the worker is told, and when it is refused."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import AsyncIterator
from ipaddress import ip_address
from typing import Any

import pytest

from tests.unit.fake_worker import FakeWorker, refusal
from tests.unit.lab import open_descriptors, until
from wirebay.errors import HostError, OptionError
from wirebay.options.types import Address
from wirebay.services import tcp
from wirebay.services.tcp import Client, TcpServices

pytestmark = pytest.mark.anyio

SERVER: Address = ip_address("10.0.2.100")


class Rig:
    """Services on a fake worker. `pairs` are the near ends of what `connect` gave."""

    def __init__(self, fake: FakeWorker, services: TcpServices) -> None:
        self.fake, self.services = fake, services
        self.pairs: list[socket.socket] = []
        self.clients: list[Client] = []
        self.error: Exception | None = None

    async def connect(self, client: Client) -> socket.socket:
        self.clients.append(client)
        if self.error:
            raise self.error
        far, near = socket.socketpair()
        self.pairs.append(near)
        return far

    def ask(self, connection: int = 7, service: str = "echo", **other: Any) -> None:
        event = {"event": "service_connect", "port": "u0", "service": service, "connection": connection}
        self.services.on_event({**event, "client": "10.0.2.15", "client_port": 4000, **other})


@pytest.fixture
async def rig(anyio_backend: str) -> AsyncIterator[Rig]:
    fake = FakeWorker()
    worker = await fake.start()
    services = TcpServices(worker.call, "u0")
    rig = Rig(fake, services)
    await services.add("echo", "the echo service", SERVER, 7, rig.connect)
    yield rig
    await services.close()
    await worker.close()
    for pair in rig.pairs:
        pair.close()


async def test_the_worker_is_told_the_service(rig: Rig) -> None:
    assert rig.fake.sent("service_add") == [
        {
            "cmd": "service_add",
            "port": "u0",
            "service": "echo",
            "proto": "tcp",
            "addr": "10.0.2.100",
            "service_port": 7,
        }
    ]


async def test_a_connection_gets_a_far_end_of_which_we_keep_nothing(rig: Rig) -> None:
    rig.ask()
    request = await rig.fake.asked("service_attach")
    assert request == {"cmd": "service_attach", "port": "u0", "connection": 7}
    assert rig.clients == [Client(ip_address("10.0.2.15"), 4000)]
    (fd,) = rig.fake.fds_of(request)
    with socket.socket(fileno=os.dup(fd)) as far:
        far.send(b"hello")
        assert rig.pairs[0].recv(10) == b"hello"
    rig.fake.drop_fds()
    assert await asyncio.to_thread(rig.pairs[0].recv, 10) == b""


async def test_without_a_far_end_the_guest_is_refused_and_the_log_told_once(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "wirebay")
    for times, error in enumerate((HostError("no"), HostError("no"), None, HostError("no")), 1):
        rig.error = error
        rig.ask(times)
        await until(lambda: len(rig.fake.sent("service_refuse", "service_attach")) == times)  # noqa: B023
    refused = [request["connection"] for request in rig.fake.sent("service_refuse")]
    assert refused == [1, 2, 4]
    assert caplog.messages == ["the echo service: no"] * 2
    assert rig.services.drops == {"refused": 3}


async def test_one_who_does_not_answer_is_a_refusal(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(_: Client) -> socket.socket:
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(tcp, "PATIENCE", 0.05)
    await rig.services.add("never", "the lazy service", SERVER, 8, never)
    rig.ask(service="never")
    await rig.fake.asked("service_refuse")


async def test_connections_that_wait_are_bounded(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(_: Client) -> socket.socket:
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(tcp, "MAX_WAITING", 2)
    monkeypatch.setattr(tcp, "MAX_TASKS", 4)
    await rig.services.add("never", "the lazy service", SERVER, 8, never)
    for connection in range(10):
        rig.ask(connection, "never")
    await rig.fake.asked("service_refuse", 2)
    assert rig.services.drops == {"too_many": 8}


async def test_a_service_that_is_not_known_is_refused(rig: Rig) -> None:
    rig.ask(service="gone")
    assert (await rig.fake.asked("service_refuse"))["connection"] == 7
    assert rig.services.drops == {"unknown": 1}


async def test_a_guest_that_left_meanwhile_leaves_nothing(rig: Rig) -> None:
    before = open_descriptors()
    rig.fake.answers["service_attach"] = refusal("option", "no such connection")
    rig.ask()
    await until(lambda: rig.services.drops["gone"] == 1)
    rig.fake.drop_fds()
    rig.pairs.pop().close()
    assert open_descriptors() == before


async def test_a_service_that_the_worker_refuses_is_an_error(rig: Rig) -> None:
    rig.fake.answers["service_add"] = refusal("option", "the address is taken")
    with pytest.raises(OptionError, match="the address is taken"):
        await rig.services.add("other", "another service", SERVER, 7, rig.connect)
