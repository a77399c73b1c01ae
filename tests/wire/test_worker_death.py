"""The real worker dies, or is told to end: one sentence, and nothing is left."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
from pathlib import Path

import pytest

from tests.unit.lab import is_gone, open_descriptors
from tests.wire.guest import Guest
from wirebay.errors import OptionError, WorkerError
from wirebay.network import Network
from wirebay.worker import Worker

pytestmark = pytest.mark.anyio


def is_empty(directory: Path) -> bool:
    return not list(directory.iterdir())


def status_of(pid: int) -> dict[str, str]:
    """What /proc tells about a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":", 1) for line in lines)


async def fill(network: Network, directory: Path) -> list[Guest]:
    """Ports of every kind that needs no privileges."""
    await network.add("user", id="u0", hostfwd=["tcp:127.0.0.1:0-:80", "udp:127.0.0.1:0-:53"])
    await network.add("stream", id="vm0", server=True, addr={"type": "unix", "path": directory / "sock"})
    guest, _ = await Guest.on(network, "vm1")
    await network.join(*network.ports.values())
    return [guest]


async def everything_is_gone(guests: list[Guest], pid: int) -> None:
    for guest in guests:
        assert await guest.hung_up()
        guest.sock.close()
    assert is_gone(pid)


async def test_a_killed_worker_is_told_and_everything_is_cleaned_up(tmp_path: Path) -> None:
    before = open_descriptors()
    async with Network() as network:
        guests = await fill(network, tmp_path)
        pid = network.worker.pid
        os.kill(pid, signal.SIGKILL)
        sentence = await asyncio.wait_for(network.failed(), 5)
        with pytest.raises(WorkerError):
            await network.stats()
    assert sentence == f"the packet worker (pid {pid}) was killed by signal 9 (SIGKILL); the network is down"
    await everything_is_gone(guests, pid)
    assert open_descriptors() == before
    assert is_empty(tmp_path)


async def test_an_orderly_end_leaves_nothing(tmp_path: Path) -> None:
    before = open_descriptors()
    async with Network() as network:
        guests = await fill(network, tmp_path)
        pid = network.worker.pid
    await everything_is_gone(guests, pid)
    assert open_descriptors() == before
    assert is_empty(tmp_path)


async def test_the_worker_ends_when_python_goes() -> None:
    worker = await Worker.start()
    worker._control.shutdown(socket.SHUT_RDWR)
    assert await asyncio.wait_for(worker.died, 5)
    assert is_gone(worker.pid)
    await worker.close()


async def test_the_worker_has_given_up_everything_it_does_not_need() -> None:
    worker = await Worker.start()
    status = status_of(worker.pid)
    assert {int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {0}
    assert int(status["NoNewPrivs"]) == 1
    assert os.getsid(worker.pid) == worker.pid
    await worker.close()


async def test_the_same_loop_runs_in_a_thread() -> None:
    before, threads = open_descriptors(), threading.active_count()
    async with Network(start_worker=Worker.in_thread) as network:
        first, port = await Guest.on(network, "vm0")
        second, other = await Guest.on(network, "vm1")
        await network.join(port, other)
        with first, second:
            await first.send(bytes(60))
            assert await second.receive() == bytes(60)
    assert threading.active_count() == threads
    assert open_descriptors() == before


async def test_a_refusal_of_the_worker_names_what_is_wrong() -> None:
    worker = await Worker.start()
    with pytest.raises(OptionError, match="fly"):
        await worker.call("fly")
    with pytest.raises(OptionError, match="nobody"):
        await worker.call("leave", port="nobody")
    await worker.close()
