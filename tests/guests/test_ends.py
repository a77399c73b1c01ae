"""Every way out of `qemu`, `ns` and `serve` with the real programs: the status, one sentence, nothing left.

`conftest.py` looks afterwards for processes, files and interfaces. QEMU runs without a guest here: what
matters is that it is connected.
"""

from __future__ import annotations

import fcntl
import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.guests.console import tied
from tests.guests.processes import WIREBAY, child_named, children, command_line, gone, wait_for
from tests.support import require_tool

TIMEOUT = 30.0
WORKER = "run_worker"
KINDS = ["qemu", "ns", "serve"]


class Run:
    """A `wirebay` that is up, with a terminal of its own; `child` is QEMU or COMMAND, if there is one."""

    def __init__(self, kind: str, folder: Path, words: Sequence[str] = ()) -> None:
        self.kind = kind
        self._folder = folder
        self._given = words
        self._keyboard, terminal = pty.openpty()
        self._ready, told = os.pipe()
        self.process = subprocess.Popen(
            tied([*WIREBAY, *self._words(told)]),
            pass_fds=[told],
            stdin=terminal,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(terminal)
        os.close(told)
        wait_for(f"{kind} to be up", self._is_up)
        self.worker = child_named(self.process.pid, WORKER)
        family = [pid for pid in children(self.process.pid) if pid != self.worker]
        self.child = next((pid for pid in family if command_line(pid).startswith(("qemu", "sleep"))), None)

    def _words(self, told: int) -> Sequence[str]:
        if self._given:
            return self._given
        if self.kind == "qemu":
            bare = ["-nic", "user", "-display", "none", "-monitor", "none", "-serial", "none"]
            return ["qemu", "--", "qemu-system-x86_64", *bare]
        if self.kind == "ns":
            return ["ns", "--", "sleep", "1000"]
        socket = f"stream,id=vm0,server=on,addr.type=unix,addr.path={self._folder}/vm0.sock"
        return ["serve", "-netdev", "user,id=u0", "-netdev", socket, "--ready-fd", str(told)]

    def _is_up(self) -> object:
        """The daemon listens; COMMAND runs; QEMU is connected and has got as far as to its main loop."""
        assert self.process.poll() is None, self.process.stderr and self.process.stderr.read()
        family = children(self.process.pid)
        if self.kind == "serve":
            return select.select([self._ready], [], [], 0)[0] and os.read(self._ready, 1) == b"1"
        if self.kind == "ns":
            return any(command_line(pid).startswith("sleep\0") for pid in family)
        handlers = [pid for pid in family if command_line(pid).startswith("qemu") and catches_sigterm(pid)]
        return bool(handlers) and not list(self._folder.iterdir())

    def press_ctrl_c(self) -> None:
        os.write(self._keyboard, b"\x03")

    def close_terminal(self) -> None:
        """As closing its window does."""
        os.close(self._keyboard)
        self._keyboard = os.open(os.devnull, os.O_RDONLY)

    def kill_worker(self) -> None:
        os.kill(self.worker, signal.SIGKILL)

    def kill_child(self) -> None:
        assert self.child is not None
        os.kill(self.child, signal.SIGKILL)

    def finish(self) -> tuple[int, list[str]]:
        """Wait for the end: the status, and what was said, without what says that it was up."""
        _, said = self.process.communicate(timeout=TIMEOUT)
        up = ("u0: ", "vm0: ", "wirebay: user network 'u0': this host has no way out")
        lines = [line for line in said.splitlines() if not line.startswith(up)]
        return self.process.returncode, lines

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()
        os.close(self._keyboard)
        os.close(self._ready)


@pytest.fixture(params=KINDS)
def run(request: pytest.FixtureRequest, folder: Path) -> Iterator[Run]:
    with running(request.param, folder) as run:
        yield run


@contextmanager
def running(kind: str, folder: Path, words: Sequence[str] = ()) -> Iterator[Run]:
    if kind == "qemu":
        require_tool("qemu-system-x86_64", "qemu-system-x86")
    run = Run(kind, folder, words)
    try:
        yield run
    finally:
        run.close()


def catches_sigterm(pid: int) -> bool:
    """From the status file of a process, proc(5)."""
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return bool(int(lines["SigCgt"], 16) >> (signal.SIGTERM - 1) & 1)


# What the end looks like when COMMAND is ended by a signal, and when QEMU, which then ends properly, is.
def status_after(number: signal.Signals, kind: str) -> int:
    return 128 + number if kind == "ns" else 0


def without_qemus(lines: list[str]) -> list[str]:
    """QEMU says which signal ended it."""
    return [line for line in lines if not line.startswith("qemu-system-x86_64: terminating on signal")]


def test_a_ctrl_c_at_the_terminal_ends_it(run: Run) -> None:
    run.press_ctrl_c()
    status, lines = run.finish()
    assert (status, without_qemus(lines)) == (status_after(signal.SIGINT, run.kind), [])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_to_wirebay_alone_ends_it(run: Run, number: signal.Signals) -> None:
    run.process.send_signal(number)
    status, lines = run.finish()
    assert (status, without_qemus(lines)) == (status_after(number, run.kind), [])


def test_a_killed_worker_is_one_sentence_with_status_1(run: Run) -> None:
    run.kill_worker()
    status, lines = run.finish()
    ending = {"qemu": "; ending QEMU", "ns": "; ending sleep", "serve": ""}[run.kind]
    killed = f"the packet worker (pid {run.worker}) was killed by signal 9 (SIGKILL); the network is down"
    assert (status, without_qemus(lines)) == (1, [f"wirebay: {killed}{ending}"])


@pytest.mark.parametrize("kind", ["qemu", "ns"])
def test_a_killed_child_gives_its_status(kind: str, folder: Path) -> None:
    with running(kind, folder) as run:
        run.kill_child()
        assert run.finish() == (128 + signal.SIGKILL, [])


@pytest.mark.parametrize("kind", ["qemu", "ns"])
def test_a_killed_wirebay_takes_all_along(kind: str, folder: Path) -> None:
    with running(kind, folder) as run:
        run.process.kill()
        run.process.wait(TIMEOUT)
        family = [run.worker, run.child or 0]
        wait_for("their end", lambda: all(map(gone, family)))


# A guest that holds connections to the services, and through a forward of its host to itself.
USE_ALL = """
import os, socket, sys
listener = socket.create_server(("0.0.0.0", 7))
ends = [socket.create_connection(("10.0.2.9", 7)), socket.create_connection(("10.0.2.4", 445))]
ends.append(socket.socket(socket.AF_UNIX))
ends[-1].connect(sys.argv[1])
ends.append(listener.accept()[0])
assert os.path.exists(sys.argv[2])
for end in ends:
    end.set_inheritable(True)
os.execvp("sleep", ["sleep", "1000"])
"""
IDLE = ["tail", "-f", "/dev/null"]  # reads no input, so it does not see its end


def all_services(folder: Path) -> list[str]:
    """The words for a namespace with every service on, and a guest that uses them."""
    require_tool("smbd", "samba")
    forward, control = folder / "forward.sock", folder / "control.sock"
    (folder / "share").mkdir()
    options = [f"smb={folder}/share,tftp={folder}/share", f"guestfwd=tcp:10.0.2.9:7-cmd:{' '.join(IDLE)}"]
    words = ["ns", "--control", str(control), "--hostfwd", f"unix:{forward}-:7"]
    words += [word for option in options for word in ("--user", option)]
    return [*words, "--", sys.executable, "-c", USE_ALL, str(forward), str(control)]


ENDS: list[tuple[Callable[[Run], None], int]] = [
    (Run.press_ctrl_c, 128 + signal.SIGINT),
    (Run.close_terminal, 128 + signal.SIGHUP),
    (lambda run: run.process.terminate(), 128 + signal.SIGTERM),
    (Run.kill_worker, 1),
    (Run.kill_child, 128 + signal.SIGKILL),
]


@pytest.mark.parametrize(("end", "status"), ENDS, ids=["ctrl-c", "terminal", "sigterm", "worker", "child"])
def test_with_all_services_in_use_nothing_is_left_behind(
    end: Callable[[Run], None], status: int, folder: Path
) -> None:
    with running("ns", folder, all_services(folder)) as run:
        lines = [command_line(pid) for pid in children(run.process.pid)]
        assert "\0".join(IDLE) + "\0" in lines
        assert any("smbd" in line for line in lines)
        end(run)
        assert run.finish()[0] == status
    shutil.rmtree(folder / "share")


def test_a_command_that_handles_ctrl_c_goes_on_and_gets_it_once(folder: Path) -> None:
    """Wirebay has no business to end before COMMAND does."""
    script = "trap 'echo caught' INT; echo up; while [ ! -e $0 ]; do sleep 0.05; done; exit 9"
    stop, (keyboard, terminal) = folder / "stop", pty.openpty()
    with subprocess.Popen(
        tied([*WIREBAY, "ns", "--", "sh", "-c", script, str(stop)]),
        stdin=terminal,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        os.write(keyboard, b"\x03")
        assert process.stdout.readline() == "caught\n"
        stop.touch()
        assert process.wait(TIMEOUT) == 9
        assert process.stdout.read() == ""
    stop.unlink()
    os.close(keyboard)
    os.close(terminal)
