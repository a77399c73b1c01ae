"""A daemon by its file: reloads, signals, and what whoever watches over it is told."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from unittest.mock import Mock

import pytest

from tests.unit.fake_worker import FakeWorker
from tests.unit.lab import until
from wirebay import network as network_module
from wirebay.cli.daemon import Daemon, Source
from wirebay.cli.serve import make_parser
from wirebay.config.file import ConfigError
from wirebay.errors import HostError, OptionError
from wirebay.network import Network
from wirebay.waiting import resolve
from wirebay.wiring import Description

pytestmark = pytest.mark.anyio

USER = '[[netdev]]\ntype = "user"\nid = "u0"\n'


class Lab:
    """A file in a directory, and the daemon that serves it on a fake worker."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.file = directory / "lab.toml"
        self.words: list[str] = []
        self.fake: FakeWorker
        self._monkeypatch = monkeypatch

    def write(self, text: str) -> None:
        self.file.write_text(text)

    @asynccontextmanager
    async def running(self, listeners: dict[str, socket.socket] | None = None) -> AsyncIterator[Daemon]:
        self.fake = FakeWorker()
        starting = partial(Network, start_worker=self.fake.start)
        self._monkeypatch.setattr(network_module, "Network", starting)
        source = Source(make_parser().parse_args([*self.words, "--config", str(self.file)]))
        read, write = os.pipe()
        daemon = Daemon(source, listeners or {})
        task = asyncio.create_task(daemon.serve(write))
        os.set_blocking(read, False)
        ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().add_reader(read, resolve, ready)
        done, _ = await asyncio.wait((task, ready), return_when=asyncio.FIRST_COMPLETED)
        asyncio.get_running_loop().remove_reader(read)
        os.close(read)
        if task in done:
            task.result()
        yield daemon
        os.kill(os.getpid(), signal.SIGTERM)
        assert await task == 0


@pytest.fixture
async def daemon_lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, anyio_backend: str) -> Lab:
    monkeypatch.chdir(tmp_path)
    return Lab(tmp_path, monkeypatch)


@pytest.fixture
def manager(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[[], list[str]]]:
    """A service manager; returns what it has been told since the last time."""
    ear = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    ear.bind(str(tmp_path / "notify"))
    ear.setblocking(False)
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))

    def told() -> list[str]:
        words: list[str] = []
        while True:
            try:
                words += ear.recv(4096).decode().splitlines()
            except BlockingIOError:
                return words

    with ear:
        yield told


def ports(daemon: Daemon) -> list[str]:
    assert daemon._network
    return list(daemon._network.ports)


async def test_a_reload_changes_what_has_changed(daemon_lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    daemon_lab.write(USER)
    async with daemon_lab.running() as daemon:
        daemon_lab.write(USER + '[[netdev]]\ntype = "user"\nid = "u1"\n')
        told = await daemon.reload()
        assert told == {"added": ["u1"], "removed": [], "replaced": [], "updated": []}
        assert ports(daemon) == ["u0", "u1"]
        assert f"loaded {daemon_lab.file} again: opened u1" in caplog.text


async def test_a_hangup_reads_the_file_again(daemon_lab: Lab) -> None:
    daemon_lab.write(USER)
    async with daemon_lab.running() as daemon:
        daemon_lab.write('[[netdev]]\ntype = "user"\nid = "u1"\n')
        os.kill(os.getpid(), signal.SIGHUP)
        await until(lambda: ports(daemon) == ["u1"])


async def test_many_hangups_are_one_reload_more_than_is_under_way(
    daemon_lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon_lab.write(USER)
    async with daemon_lab.running() as daemon:
        reading = Mock(wraps=daemon._source.read_again)
        monkeypatch.setattr(daemon._source, "read_again", reading)
        await asyncio.gather(*(daemon.reload() for _ in range(50)))
        assert reading.call_count == 1


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("x = 1\n" + USER, "lab.toml:1: Parameter 'x' is unexpected"),
        ('control = "b"\n' + USER, "lab.toml:1: 'control' cannot change while wirebay runs"),
        (USER + 'hostfwd = ["tcp:127.0.0.1:0-:80", "nonsense"]', "lab.toml:4: Invalid host forwarding rule"),
    ],
)
async def test_a_mistake_leaves_everything_as_it_was_and_is_told(
    daemon_lab: Lab, caplog: pytest.LogCaptureFixture, text: str, mistake: str
) -> None:
    daemon_lab.write(USER)
    async with daemon_lab.running() as daemon:
        before = len(daemon_lab.fake.requests)
        daemon_lab.write(text)
        with pytest.raises(ConfigError, match=mistake):
            await daemon.reload()
        assert len(daemon_lab.fake.requests) == before
        assert "not loaded again, everything is as it was: " in caplog.text
        daemon_lab.write(USER)
        assert not any((await daemon.reload()).values())


async def test_a_file_that_has_gone_is_a_mistake_too(daemon_lab: Lab) -> None:
    daemon_lab.write(USER)
    async with daemon_lab.running() as daemon:
        daemon_lab.file.unlink()
        with pytest.raises(OptionError, match="No such file"):
            await daemon.reload()
        assert ports(daemon) == ["u0"]


async def test_what_the_host_refuses_is_told_and_leaves_everything_as_it_was(daemon_lab: Lab) -> None:
    daemon_lab.write(USER)
    async with daemon_lab.running() as daemon:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            daemon_lab.write(USER + f'hostfwd = ["tcp:127.0.0.1:{taken.getsockname()[1]}-:80"]')
            with pytest.raises(HostError, match="Address already in use"):
                await daemon.reload()
        assert ports(daemon) == ["u0"]


async def test_ports_of_the_command_line_stay_and_clash_with_those_of_the_file(daemon_lab: Lab) -> None:
    daemon_lab.write(USER)
    from wirebay.options.netdev import parse_netdev

    arguments = make_parser().parse_args(["--config", str(daemon_lab.file)])
    source = Source(arguments, Description(netdevs=(parse_netdev("user,id=own"),)))
    assert [netdev.id for netdev in source.config.whole.netdevs] == ["own", "u0"]
    with pytest.raises(ConfigError, match=r"lab\.toml:1: Duplicate ID 'u0' for netdev"):
        Source(arguments, Description(netdevs=(parse_netdev("user,id=u0"),)))


async def test_the_command_line_wins_over_the_file(daemon_lab: Lab) -> None:
    daemon_lab.write('log-level = "debug"\npid-file = "a"\n' + USER)
    arguments = make_parser().parse_args(["--config", str(daemon_lab.file), "--pid-file", "b"])
    settings = Source(arguments).config.settings
    assert (settings.log_level, settings.pid_file) == ("debug", "b")


async def test_the_service_manager_is_told_how_it_goes(
    daemon_lab: Lab, manager: Callable[[], list[str]]
) -> None:
    daemon_lab.write(USER)
    async with daemon_lab.running() as daemon:
        assert "NOTIFY_SOCKET" not in os.environ
        await until(lambda: daemon._network is not None)
        assert manager() == ["READY=1", "STATUS=serving 1 ports"]
        daemon_lab.write("x = 1")
        with pytest.raises(ConfigError):
            await daemon.reload()
        first, when, *rest = manager()
        assert first == "RELOADING=1"
        assert int(when.removeprefix("MONOTONIC_USEC=")) > 0
        assert rest == ["READY=1", "STATUS=the file was not loaded again; the log says why"]
    assert manager() == ["STOPPING=1", "STATUS=cleaning up"]


async def test_sockets_that_listen_already_are_taken_by_their_names(daemon_lab: Lab, tmp_path: Path) -> None:
    server = 'type = "stream"\nid = "vm0"\nserver = true\naddr = { type = "unix", path = "unused" }\n'
    daemon_lab.write(f"[[netdev]]\n{server}")
    with socket.socket(socket.AF_UNIX) as vm0, socket.socket(socket.AF_UNIX) as control:
        vm0.bind(str(tmp_path / "vm0"))
        control.bind(str(tmp_path / "control"))
        for listener in (vm0, control):
            listener.listen()
            listener.setblocking(False)
        async with daemon_lab.running({"vm0": vm0, "control": control}) as daemon:
            assert daemon._network
            port = daemon._network.ports["vm0"]
            assert port.describe() == f"vm0: listening on unix:{tmp_path}/vm0"
            _reader, writer = await asyncio.open_unix_connection(tmp_path / "vm0")
            await asyncio.wait_for(port.connected, 10)  # type: ignore[attr-defined]
            greeting, other = await asyncio.open_unix_connection(tmp_path / "control")
            assert b"QMP" in await greeting.readline()
            writer.close()
            other.close()
    assert (tmp_path / "vm0").exists()
    assert not (tmp_path / "unused").exists()
