"""The worker as a child process: how it ends is told, and nothing of it stays."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import socket
from pathlib import Path

import pytest

from tests.unit.lab import is_gone, open_descriptors, until
from wirebay.errors import WorkerError
from wirebay.worker import Worker
from wirebay.worker_host import ProcessHost, describe_status, raise_descriptor_limit

pytestmark = pytest.mark.anyio

# A worker that says it is ready and answers everything, in as little Python as possible.
CHILD = """
import json, socket, sys
control = socket.socket(fileno=int(sys.argv[1]))
control.send(b'{"event": "ready", "version": 2, "pid": 0}')
while data := control.recv(65536):
    request = json.loads(data)
    if request["cmd"] == "exit":
        sys.exit(request["status"])
    if request["cmd"] != "hang":
        control.send(json.dumps({"id": request["id"], "ok": {"stdin": sys.stdin.read()}}).encode())
    if request["cmd"] == "stop":
        break
"""


async def start(script: str = CHILD) -> Worker:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        host = ProcessHost(theirs, script)
    return await Worker.over(ours, host)


def children() -> list[str]:
    """The processes that this one started, zombies too."""
    return Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()


async def test_stop_leaves_no_process_and_no_descriptor() -> None:
    before = open_descriptors()
    worker = await start()
    assert await worker.call("stats") == {"stdin": ""}
    await worker.close()
    assert is_gone(worker.pid)
    assert open_descriptors() == before


async def test_a_kill_is_told_with_its_signal_and_leaves_nothing() -> None:
    before = open_descriptors()
    worker = await start()
    call = asyncio.create_task(worker.call("hang"))
    await asyncio.sleep(0)
    os.kill(worker.pid, signal.SIGKILL)
    sentence = f"the packet worker (pid {worker.pid}) was killed by signal 9 (SIGKILL); the network is down"
    assert await worker.died == sentence
    with pytest.raises(WorkerError) as error:
        await call
    assert str(error.value) == sentence
    assert is_gone(worker.pid)
    await worker.close()
    assert open_descriptors() == before


async def test_an_exit_is_told_with_its_status() -> None:
    worker = await start()
    with pytest.raises(WorkerError, match=r"exited with status 3; the network is down$"):
        await worker.call("exit", status=3)
    await worker.close()


async def test_a_child_that_is_no_worker_is_told_and_reaped() -> None:
    before = open_descriptors()
    with pytest.raises(WorkerError, match="exited with status 7"):
        await start("raise SystemExit(7)")
    assert open_descriptors() == before


async def test_a_start_that_is_cancelled_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wirebay.worker.STOP_TIMEOUT", 0.05)
    before = open_descriptors()
    starting = asyncio.create_task(start("import time; time.sleep(1000)"))
    await until(lambda: open_descriptors() != before)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert open_descriptors() == before
    assert not children()


async def test_the_child_has_a_session_of_its_own() -> None:
    worker = await start()
    assert os.getsid(worker.pid) == worker.pid
    await worker.close()


def test_a_signal_without_a_name_is_told_by_number() -> None:
    assert describe_status(-63) == "was killed by signal 63"


def may_raise_limits() -> bool:
    """CAP_SYS_RESOURCE (24) is among our effective capabilities."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return bool(int(status["CapEff"], 16) >> 24 & 1)


@pytest.mark.skipif(not may_raise_limits(), reason="only CAP_SYS_RESOURCE may raise a hard limit")
def test_root_gives_the_child_room_for_its_flows() -> None:
    child = os.posix_spawn("/bin/sleep", ["sleep", "60"], {})
    try:
        raise_descriptor_limit(child)
        _, hard = resource.prlimit(child, resource.RLIMIT_NOFILE)
        assert hard == resource.RLIM_INFINITY or hard >= 65536
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
