"""Programs that serve one connection each: they begin and end with it, and none is left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.unit.lab import is_gone, open_descriptors, until
from wirebay.errors import HostError
from wirebay.services import programs
from wirebay.services.programs import Programs, loopback_pair

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "GRACE", 0.05)


@pytest.fixture
async def running(anyio_backend: str) -> AsyncIterator[Programs]:
    before = open_descriptors()
    made = Programs(4)
    yield made
    await made.close()
    await asyncio.sleep(0)
    assert open_descriptors() == before


async def talk(far: socket.socket, data: bytes) -> bytes:
    """Send, end our side, and read to the end."""
    far.setblocking(False)
    loop, received = asyncio.get_running_loop(), b""
    await loop.sock_sendall(far, data)
    far.shutdown(socket.SHUT_WR)
    while more := await asyncio.wait_for(loop.sock_recv(far, 65536), 10):
        received += more
    return received


async def pid_of(far: socket.socket) -> int:
    """What a shell says of itself."""
    far.setblocking(False)
    return int(await asyncio.wait_for(asyncio.get_running_loop().sock_recv(far, 100), 10))


@pytest.mark.parametrize("pair", [socket.socketpair, loopback_pair])
async def test_the_connection_is_its_input_and_output(running: Programs, pair: programs.MakePair) -> None:
    with running.start(["cat"], pair) as far:
        assert await talk(far, b"hello") == b"hello"


async def test_a_program_that_ends_ends_the_connection(running: Programs) -> None:
    with running.start(["echo", "bye"]) as far:
        assert await talk(far, b"") == b"bye\n"
        await until(lambda: not running._running)


async def test_the_end_of_what_the_guest_says_is_not_the_end_of_the_answer(running: Programs) -> None:
    with running.start(["sh", "-c", "wc -c; sleep 0.2; echo done"]) as far:
        assert (await talk(far, b"12345")).split() == [b"5", b"done"]


async def test_a_program_is_ended_with_its_connection(running: Programs) -> None:
    with running.start(["sh", "-c", "echo $$; sleep 1000 & sleep 1000"]) as far:
        pid = await pid_of(far)
    await until(lambda: is_gone(pid))


async def test_a_program_has_no_signal_blocked_and_no_descriptor_of_ours(running: Programs) -> None:
    read, write = os.pipe()
    os.set_inheritable(write, True)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGHUP])
    try:
        with running.start(["sh", "-c", "grep -E 'SigBlk|SigIgn' /proc/self/status; ls /proc/$$/fd"]) as far:
            _, blocked, _, ignored, *descriptors = (await talk(far, b"")).decode().split()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        os.close(read)
        os.close(write)
    assert (int(blocked, 16), int(ignored, 16) >> (signal.SIGPIPE - 1) & 1) == (0, 0)
    assert descriptors == ["0", "1", "2"]


def has_ended(pid: int) -> bool:
    """Gone, or a zombie that whoever adopted it has not reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


async def test_one_that_does_not_want_to_end_is_killed_and_so_are_its_children(running: Programs) -> None:
    script = "trap '' TERM HUP; sleep 1000 & echo $!; while :; do wait; done"
    with running.start(["sh", "-c", script]) as far:
        child = await pid_of(far)
        assert not has_ended(child)
    await until(lambda: not running._running and has_ended(child))


async def test_all_are_ended_when_the_port_closes(running: Programs) -> None:
    with running.start(["sh", "-c", "echo $$; exec sleep 1000"]) as far:
        pid = await pid_of(far)
        await running.close()
        assert is_gone(pid)
        with pytest.raises(HostError):
            running.start(["cat"])


async def test_one_that_was_started_just_now_is_ended_too(running: Programs) -> None:
    with running.start(["sleep", "1000"]):
        await running.close()


async def test_the_number_is_bounded(running: Programs) -> None:
    ends = [running.start(["cat"]) for _ in range(4)]
    with pytest.raises(HostError, match="4 copies of 'cat' run already"):
        running.start(["cat"])
    for far in ends:
        far.close()
    await until(lambda: not running._running)
    running.start(["cat"]).close()


async def test_a_program_that_cannot_run_is_told(running: Programs, tmp_path: Path) -> None:
    with pytest.raises(HostError, match=r"Failed to execute '/nonexistent': No such file or directory"):
        running.start(["/nonexistent"])
    with pytest.raises(HostError, match="Permission denied"):
        running.start([str(tmp_path)])


def test_a_loopback_pair_lets_nobody_else_in() -> None:
    far, near = loopback_pair()
    with far, near:
        assert (far.getpeername(), near.getpeername()) == (near.getsockname(), far.getsockname())
