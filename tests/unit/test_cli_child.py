"""A command's child process: told of every signal, never left behind, its status passed on."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import types
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import wirebay
from tests.unit.lab import is_gone
from wirebay.cli import child as child_module
from wirebay.cli.child import spawn, supervise
from wirebay.cli.loop import STOP_SIGNALS, run_loop, until_stopped
from wirebay.errors import HostError

SOURCES = str(Path(wirebay.__path__[0]).parent)

# Stands in for the extension, which a test of this module does not need.
FAKE_CORE = """
import ctypes, sys, types
core = types.ModuleType("wirebay._core")
core.set_parent_death_signal = lambda number: ctypes.CDLL(None).prctl(1, int(number))
sys.modules["wirebay._core"] = core
import wirebay
wirebay._core = core
"""

# Exits with 40 and the number of the first signal it gets.
OBEDIENT = """
import signal, sys
for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
    signal.signal(number, lambda number, frame: sys.exit(40 + number))
print("ready", flush=True)
signal.pause()
"""

STUBBORN = """
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
while True:
    signal.pause()
"""


class Network:
    """One that fails when told to."""

    def __init__(self) -> None:
        self.sentence: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def failed(self) -> str:
        return await self.sentence


Start = Callable[[str], int]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts a Python program, waits until it says that it is ready, and returns its process id."""
    running: list[subprocess.Popen[bytes]] = []

    def start(program: str) -> int:
        process = subprocess.Popen([sys.executable, "-S", "-c", program], stdout=subprocess.PIPE)
        running.append(process)
        assert process.stdout is not None
        if "ready" in program:
            assert process.stdout.readline() == b"ready\n"
        process.returncode = 0  # it is supervise() that reaps it
        return process.pid

    yield start
    for process in running:
        assert process.stdout is not None
        process.stdout.close()


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("program", "status"),
    [
        ("", 0),
        ("raise SystemExit(3)", 3),
        ("import os; os.kill(os.getpid(), 9)", 137),
        ("import os; os.abort()", 134),
    ],
)
async def test_the_childs_exit_status_is_the_result(program: str, status: int, start: Start) -> None:
    pid = start(program)
    assert await supervise(pid, Network(), "the child") == status
    assert is_gone(pid)


@pytest.mark.anyio
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
async def test_signals_are_passed_on_to_the_child(number: signal.Signals, start: Start) -> None:
    task = asyncio.ensure_future(supervise(start(OBEDIENT), Network(), "the child"))
    await asyncio.sleep(0)  # it has its handlers now
    os.kill(os.getpid(), number)
    assert await task == 40 + number


@pytest.mark.anyio
async def test_a_waiting_child_is_let_go_when_a_ctrl_c_can_be_told_from_a_kill(start: Start) -> None:
    """Else it would get a Ctrl-C twice that came at once: from the terminal and from us."""
    pid = start(OBEDIENT)
    blocked: list[set[signal.Signals | int]] = []

    def go() -> None:
        blocked.append(signal.pthread_sigmask(signal.SIG_BLOCK, []))
        os.kill(pid, signal.SIGTERM)

    assert await supervise(pid, Network(), "the child", go=go) == 40 + signal.SIGTERM
    assert set(STOP_SIGNALS) <= blocked[0]


@pytest.mark.anyio
async def test_a_signal_that_was_ignored_stays_ignored(start: Start) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        task = asyncio.ensure_future(supervise(start(OBEDIENT), Network(), "the child"))
        await asyncio.sleep(0)
        os.kill(os.getpid(), signal.SIGHUP)
        os.kill(os.getpid(), signal.SIGTERM)
        assert await task == 40 + signal.SIGTERM
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.anyio
async def test_a_failing_network_ends_the_child_and_says_why(
    start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    pid, network = start(OBEDIENT), Network()
    network.sentence.set_result("the packet worker was killed by signal 9.")
    assert await supervise(pid, network, "QEMU") == 1
    assert is_gone(pid)
    assert capsys.readouterr().err == "wirebay: the packet worker was killed by signal 9; ending QEMU\n"


@pytest.mark.anyio
async def test_a_child_that_does_not_end_is_killed(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child_module, "GRACE", 0.01)
    pid, network = start(STUBBORN), Network()
    network.sentence.set_result("broken")
    assert await supervise(pid, network, "QEMU") == 1
    assert is_gone(pid)


@pytest.mark.anyio
async def test_an_error_while_waiting_leaves_no_child(start: Start) -> None:
    pid, network = start(OBEDIENT), Network()
    network.sentence.set_exception(RuntimeError("bug"))
    with pytest.raises(RuntimeError, match="bug"):
        await supervise(pid, network, "QEMU")
    assert is_gone(pid)


@pytest.mark.anyio
async def test_cancelling_leaves_no_child(start: Start) -> None:
    pid = start(OBEDIENT)
    task = asyncio.ensure_future(supervise(pid, Network(), "QEMU"))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert is_gone(pid)


@pytest.fixture
def core(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("wirebay._core")
    module.__dict__["set_parent_death_signal"] = lambda number: None
    monkeypatch.setitem(sys.modules, "wirebay._core", module)
    monkeypatch.setattr(wirebay, "_core", module, raising=False)


@pytest.mark.anyio
async def test_a_spawned_child_inherits_what_we_inherited(core: None) -> None:
    read, write = os.pipe()
    os.set_inheritable(write, True)
    pid = spawn(["/bin/sh", "-c", f"echo hello > /proc/self/fd/{write}; test ! -e /proc/self/fd/{read}"])
    os.close(write)
    assert await supervise(pid, Network(), "the child") == 0
    assert os.read(read, 100) == b"hello\n"
    os.close(read)


@pytest.mark.parametrize(
    ("program", "reason"),
    [("/nonexistent/qemu", "No such file or directory"), ("/etc/passwd", "Permission denied")],
)
def test_a_program_that_cannot_be_started_is_named(program: str, reason: str, core: None) -> None:
    with pytest.raises(HostError) as caught:
        spawn([program])
    assert str(caught.value) == f"Could not start '{program}': {reason}"


def test_the_kernel_ends_a_spawned_child_when_we_are_killed() -> None:
    program = f"""
        import os, signal, sys
        sys.path.insert(0, {SOURCES!r})
        {textwrap.indent(FAKE_CORE, " " * 8)}
        from wirebay.cli.child import spawn
        spawn(["/bin/sh", "-c", "echo ready; exec sleep 1000"])
        signal.pause()
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE, start_new_session=True
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"ready\n"
        parent.kill()
        # End of file means that nobody holds the other end any more, the child included.
        assert parent.stdout.read() == b""


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_a_signal_before_the_child_runs_ends_the_loop_through_its_clean_up(number: signal.Signals) -> None:
    steps: list[str] = []

    async def main() -> int:
        try:
            os.kill(os.getpid(), number)
            await asyncio.get_running_loop().create_future()
        finally:
            os.kill(os.getpid(), number)  # once more does not break off the clean-up
            await asyncio.sleep(0.01)
            steps.append("cleaned up")
        return 0

    assert run_loop(main()) == 128 + number
    assert steps == ["cleaned up"]


def test_the_loops_result_is_that_of_the_main_function() -> None:
    async def main() -> int:
        return 7

    assert run_loop(main()) == 7


class Unfailing:
    """A network that goes on and on."""

    async def failed(self) -> str:
        for_ever: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        return await for_ever


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_a_signal_right_before_the_wait_for_one_is_its_proper_end(number: signal.Signals) -> None:
    async def main() -> int:
        os.kill(os.getpid(), number)  # as whoever was told that we are ready may do
        async with asyncio.timeout(10):
            await until_stopped(Unfailing())
        return 0

    assert run_loop(main()) == 0
