"""wirebay serve: what it refuses before anything is open, and how it runs and ends."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.unit.fake_worker import FakeWorker
from tests.unit.lab import hubport, unix_server, user
from wirebay import network as network_module
from wirebay.cli import serve as serve_module
from wirebay.cli.daemon import Daemon, Source
from wirebay.cli.serve import describe, make_parser, run
from wirebay.errors import HostError, OptionError, WorkerError
from wirebay.network import Network
from wirebay.options.types import Netdev
from wirebay.wiring import Description, ordered

USER = "user,id=u0"
NO_PORT = "Parameter 'netdev' expects a network backend id"


@pytest.fixture(autouse=True)
def log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Callable[[], FakeWorker]:
    """Makes the worker that the next network gets."""

    def make() -> FakeWorker:
        worker = FakeWorker()
        monkeypatch.setattr(network_module, "Network", partial(Network, start_worker=worker.start))
        return worker

    return make


@pytest.mark.parametrize(
    ("netdevs", "sentence"),
    [
        ([USER, USER], "Duplicate ID 'u0' for netdev"),
        ([USER, "hubport,id=h0,hubid=0,netdev=u1"], "netdev 'u1' not found"),
        (
            [USER, "hubport,id=h0,hubid=0,netdev=u0", "hubport,id=h1,hubid=1,netdev=u0"],
            "netdev 'u0' is already on hubport 'h0'",
        ),
        ([USER, "user"], "Parameter 'id' is missing"),
        (
            [USER, f"stream,id=vm0,addr.type=unix,addr.path={'x' * 108}"],
            f"UNIX socket path '{'x' * 108}' is too long: it must be less than 108 bytes",
        ),
    ],
)
def test_netdevs_that_contradict_each_other_are_refused_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch, netdevs: list[str], sentence: str
) -> None:
    monkeypatch.setattr(serve_module, "start", None)
    with pytest.raises(OptionError) as error:
        run([word for netdev in netdevs for word in ("-netdev", netdev)])
    assert str(error.value) == sentence


def test_a_ready_descriptor_that_is_not_open_is_refused() -> None:
    with pytest.raises(OptionError, match="--ready-fd: descriptor 9999 is not open"):
        run(["-netdev", USER, "--ready-fd", "9999"])


@pytest.mark.parametrize("argv", [[], ["-netdev"], ["-netdev", USER, "rest"], ["-netdev", USER, "--colour"]])
def test_wrong_usage_has_status_2(argv: list[str]) -> None:
    with pytest.raises((SystemExit, OptionError)) as error:
        run(argv)
    assert getattr(error.value, "exit_status", getattr(error.value, "code", None)) == 2


def test_both_spellings_of_netdev_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def spy(arguments: object, whole: Description) -> int:
        seen.extend(netdev.id for netdev in whole.netdevs)
        return 0

    monkeypatch.setattr(serve_module, "start", spy)
    assert run(["-netdev", "user,id=u0", "--netdev", "user,id=u1"]) == 0
    assert seen == ["u0", "u1"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ["-object", "filter-buffer,id=f,netdev=zz,interval=1"],
            "Parameter 'netdev' expects a network backend id",
        ),
        (
            ["-object", "filter-buffer,id=f,netdev=h0,interval=1"],
            "Parameter 'netdev' expects a network backend id",
        ),
        (["-object", "filter-buffer,id=f,netdev=u0,interval=1"] * 2, "Duplicate ID 'f' for object"),
        (["-chardev", "socket,id=c,path=x"] * 2, "Duplicate ID 'c' for chardev"),
        (["-object", "filter-mirror,id=f,netdev=u0,outdev=c"], "Device 'c' not found"),
        (["-object", "filter-redirector,id=f,netdev=u0,indev=c"], "IN Device 'c' not found"),
        (["-object", "filter-buffer,id=f,netdev=u0,interval=1,position=id=g"], "filter 'g' not found"),
        (["-object", "filter-dump,id=f,netdev=u0"], "Parameter 'file' is missing"),
        (["-netdev", "switchport,id=p,switch=lan,netdev=u0"], "netdev 'u0' is already on hubport 'h0'"),
    ],
)
def test_filters_and_places_that_cannot_be_are_refused_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch, words: list[str], sentence: str
) -> None:
    monkeypatch.setattr(serve_module, "start", None)
    with pytest.raises(OptionError) as error:
        run(["-netdev", USER, "-netdev", "hubport,id=h0,hubid=0,netdev=u0", *words])
    assert str(error.value) == sentence


@pytest.mark.anyio
async def test_filters_are_added_when_all_ports_are_there(
    fake: Callable[[], FakeWorker], tmp_path: Path
) -> None:
    worker = fake()
    words = ["-netdev", USER, "-chardev", f"socket,id=c0,path={tmp_path}/c,server=on,wait=off"]
    words += ["-object", "filter-mirror,id=m0,netdev=u0,outdev=c0"]
    words += ["-object", "filter-buffer,id=b0,netdev=u0,interval=9,position=head"]
    arguments = make_parser().parse_args(words)
    read, write = os.pipe()
    task = asyncio.create_task(Daemon(Source(arguments, describe(arguments)), {}).serve(write))
    assert await ready(read) == b"1"
    assert (tmp_path / "c").is_socket()
    added = [(r["filter"], r["place"], r["kind"]) for r in worker.sent("filter_add")]
    assert added == [("m0", 0, {"mirror": {"vnet_hdr": False}}), ("b0", 0, {"buffer": {"interval": 9}})]
    os.kill(os.getpid(), signal.SIGTERM)
    await task
    assert [request["filter"] for request in worker.sent("filter_remove")] == ["b0", "m0"]
    assert not (tmp_path / "c").exists()


def test_hubports_come_last() -> None:
    netdevs: list[Netdev] = [hubport("h0", 0, "u0"), user("u0"), hubport("h1", 0, "u1"), user("u1")]
    assert [netdev.id for netdev in ordered(netdevs)] == ["u0", "u1", "h0", "h1"]


class Running:
    """A `serve` in the background, with the fake worker that it runs on."""

    def __init__(self, fake: FakeWorker, netdevs: list[Netdev], ready_fd: int | None = None) -> None:
        self.fake = fake
        source = Source(make_parser().parse_args([]), Description(netdevs=tuple(netdevs)))
        self.task = asyncio.create_task(Daemon(source, {}).serve(ready_fd))

    def stop(self) -> None:
        """As `kill` does, once it is ready."""
        os.kill(os.getpid(), signal.SIGTERM)

    def joins(self) -> list[tuple[Any, Any]]:
        return [(request["hub"], request["port"]) for request in self.fake.sent("join")]


async def ready(fd: int) -> bytes:
    """What comes out of a pipe until it is closed."""
    chunks = []
    os.set_blocking(fd, False)
    while True:
        with suppress(BlockingIOError):
            chunks.append(os.read(fd, 100))
            if not chunks[-1]:
                os.close(fd)
                return b"".join(chunks)
        await asyncio.sleep(0)


@pytest.mark.anyio
async def test_without_hubports_all_ports_share_one_hub(
    fake: Callable[[], FakeWorker], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "sock"
    read, write = os.pipe()
    running = Running(fake(), [user("u0"), unix_server("vm0", path)], write)
    assert await ready(read) == b"1"
    assert running.joins() == [("#1", "u0"), ("#1", "vm0")]
    assert (
        capsys.readouterr().err
        == f"u0: user network 10.0.2.0/24 and fec0::/64\nvm0: listening on unix:{path}\n"
    )
    running.stop()
    await running.task
    assert not path.exists()
    assert running.fake.requests[-1] == {"cmd": "stop"}


@pytest.mark.anyio
async def test_hubports_say_who_is_on_which_hub(
    fake: Callable[[], FakeWorker], capsys: pytest.CaptureFixture[str]
) -> None:
    read, write = os.pipe()
    running = Running(fake(), [user("u0"), user("u1"), hubport("h0", 3, "u0")], write)
    await ready(read)
    assert running.joins() == [("hub3", "u0")]
    assert "warning: netdev u1 has no peer\n" in capsys.readouterr().err
    running.stop()
    await running.task


@pytest.mark.anyio
async def test_the_death_of_the_worker_ends_it_with_the_sentence(
    fake: Callable[[], FakeWorker], tmp_path: Path
) -> None:
    path = tmp_path / "sock"
    read, write = os.pipe()
    running = Running(fake(), [unix_server("vm0", path)], write)
    await ready(read)
    running.fake.exit()
    with pytest.raises(WorkerError, match=r"^the packet worker \(pid 4242\) .*; the network is down$"):
        await running.task
    assert not path.exists()


@pytest.mark.anyio
async def test_a_port_that_cannot_open_takes_the_others_down(
    fake: Callable[[], FakeWorker], tmp_path: Path
) -> None:
    path = tmp_path / "sock"
    (tmp_path / "file").touch()
    running = Running(fake(), [unix_server("vm0", path), unix_server("vm1", tmp_path / "file")])
    with pytest.raises(HostError, match="is not a socket"):
        await running.task
    assert not path.exists()
