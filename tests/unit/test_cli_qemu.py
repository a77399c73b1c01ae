"""wirebay qemu, with a network and a QEMU that only write down what happens to them."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import shlex
import signal
import subprocess
import sys
import termios
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest

import wirebay
from wirebay.cli import main
from wirebay.cli.qemu import NOTHING_TO_SERVE, split_command

SOURCES = str(Path(wirebay.__path__[0]).parent)

# `wirebay` with a network that logs to $LOG, and fails at once if $FAIL says why.
DRIVER = f"""
import asyncio, ctypes, json, os, sys, types
sys.path.insert(0, {SOURCES!r})

def module(name, **names):
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__dict__.update(names)
    return sys.modules[name]

def log(*words):
    with open(os.environ["LOG"], "a") as file:
        print(json.dumps(words), file=file)

class Network:
    async def __aenter__(self):
        return self

    async def __aexit__(self, *error):
        log("closed")

    async def add(self, options):
        if hasattr(options, "ipv4"):
            log("user", options.id)
            return types.SimpleNamespace(id=options.id)
        path = options.addr.path if hasattr(options, "addr") else options.path
        assert os.stat(os.path.dirname(path)).st_mode & 0o777 == 0o700
        log("stream" if hasattr(options, "addr") else "vhost-user", options.id, options.server, path)
        connected = asyncio.get_running_loop().create_future()
        if "CONNECTS" in os.environ:
            connected.set_result(None)
        return types.SimpleNamespace(id=options.id, connected=connected)

    async def join(self, *ports):
        log("join", *(port.id for port in ports))

    async def failed(self):
        if "FAIL" in os.environ:
            return os.environ["FAIL"]
        await asyncio.Event().wait()

import wirebay
def set_parent_death_signal(number):
    ctypes.CDLL(None).prctl(1, int(number))

wirebay._core = module("wirebay._core", set_parent_death_signal=set_parent_death_signal)
module("wirebay.network", Network=Network)
from wirebay.cli import main
sys.exit(main(sys.argv[1:]))
"""

# Writes down its arguments, and exits with the status in $STATUS; or waits, and exits with 40 and the signal.
FAKE_QEMU = f"""#!{sys.executable}
import json, os, signal, sys
if sys.argv[1:] == ["--version"]:
    print("QEMU emulator version", os.environ.get("VERSION", "11.1.3"), "(Debian)")
    sys.exit()
with open(os.environ["LOG"], "a") as file:
    print(json.dumps(["qemu", *sys.argv[1:]]), file=file)
if "STATUS" in os.environ:
    sys.exit(int(os.environ["STATUS"]))
for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
    signal.signal(number, lambda number, frame: sys.exit(40 + number))
print("ready", flush=True)
signal.pause()
"""

# Exits with 50 and the number of SIGINTs it got.
COUNTING_QEMU = f"""#!{sys.executable}
import signal, sys
count = 0
def interrupt(number, frame):
    global count
    count += 1
    print("interrupted", flush=True)
signal.signal(signal.SIGINT, interrupt)
signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(50 + count))
print("ready", flush=True)
while True:
    signal.pause()
"""


class Bench:
    """A place to run `wirebay qemu` in."""

    def __init__(self, place: Path) -> None:
        self.runtime = place / "run"
        self.runtime.mkdir()
        self.qemu = place / "qemu-system-x86_64"
        self.qemu.write_text(FAKE_QEMU)
        self.qemu.chmod(0o755)
        self.log_file = place / "log"
        self.log_file.touch()
        self.driver = place / "driver.py"
        self.driver.write_text(textwrap.dedent(DRIVER))

    def start(
        self, *arguments: str, terminal: int | None = None, **environment: str
    ) -> subprocess.Popen[str]:
        """Start the command, in a session of its own with `terminal` as the one that sends it a Ctrl-C."""
        control = None if terminal is None else lambda: fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
        return subprocess.Popen(
            [sys.executable, str(self.driver), "qemu", *arguments],
            env={
                **os.environ,
                "LOG": str(self.log_file),
                "XDG_RUNTIME_DIR": str(self.runtime),
                "PATH": f"{self.qemu.parent}:{os.environ['PATH']}",
                **environment,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=control,
        )

    def run(self, *arguments: str, **environment: str) -> tuple[int, str, str]:
        process = self.start(*arguments, terminal=None, **environment)
        stdout, stderr = process.communicate(timeout=30)
        return process.returncode, stdout, stderr

    @property
    def log(self) -> list[Any]:
        return [json.loads(line) for line in self.log_file.read_text().splitlines()]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_each_user_network_is_served_on_a_socket_of_its_own(bench: Bench) -> None:
    result = bench.run("--", "qemu-system-x86_64", "-nic", "user", "-netdev", "user,id=qemu0", STATUS="7")
    assert result == (7, "", "")
    assert [entry[0] for entry in bench.log] == [
        "user",
        "stream",
        "join",
        "user",
        "stream",
        "join",
        "qemu",
        "closed",
    ]
    (_, first), (_, name, server, path), joined, (_, second), (_, other, _, other_path), *_ = bench.log
    assert (first, second, server) == ("wirebay0", "qemu0", True)
    assert joined == ["join", "wirebay0", name]
    assert len({name, other, first, second}) == 4
    qemu = next(entry for entry in bench.log if entry[0] == "qemu")
    assert f"addr.path={path}" in qemu[2]
    assert f"addr.path={other_path}" in qemu[6]
    assert Path(path).parent.parent == bench.runtime


@pytest.mark.parametrize(
    ("version", "asked", "kind", "words"),
    [
        ("11.1.3", [], "vhost-user", ["nic,netdev=wirebay0,model=virtio"]),
        ("10.0.0", ["--transport", "auto"], "vhost-user", ["nic,netdev=wirebay0,model=virtio"]),
        ("11.1.3", ["--transport", "stream"], "stream", ["nic,netdev=wirebay0,model=virtio"]),
        ("9.2.1", [], "stream", ["nic,netdev=wirebay0,model=virtio"]),
        (
            "7.2.22",
            ["--transport", "vhost-user"],
            "vhost-user",
            ["nic,netdev=wirebay0,model=virtio,vectors=0"],
        ),
        ("unknown", [], "stream", ["nic,netdev=wirebay0,model=virtio"]),
        ("unknown", ["--transport", "vhost-user"], "vhost-user", ["nic,netdev=wirebay0,model=virtio"]),
    ],
)
def test_vhost_user_is_taken_where_qemu_survives_it(
    bench: Bench, version: str, asked: list[str], kind: str, words: list[str]
) -> None:
    command = ["qemu-system-x86_64", "-nic", "user,model=virtio"]
    assert bench.run(*asked, "--", *command, STATUS="7", VERSION=version) == (7, "", "")
    assert bench.log[1][0] == kind
    qemu = next(entry for entry in bench.log if entry[0] == "qemu")
    assert qemu[-1:] == words


def test_a_transport_that_cannot_be_is_one_sentence(bench: Bench) -> None:
    result = bench.run("--transport", "vhost-user", "--", "qemu-system-x86_64", "-nic", "user,model=e1000")
    sentence = "--transport vhost-user: -nic user,model=e1000: it has no virtio-net card to itself"
    assert result == (2, "", f"wirebay: {sentence}\n")
    assert bench.log == []


def test_nothing_is_left_behind(bench: Bench) -> None:
    assert bench.run("qemu-system-x86_64", STATUS="0") == (0, "", "")
    assert list(bench.runtime.iterdir()) == []
    assert bench.log[-1] == ["closed"]


def test_once_qemu_is_connected_even_a_kill_leaves_nothing_behind(bench: Bench) -> None:
    process = bench.start("--", "qemu-system-x86_64", CONNECTS="1")
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    deadline = time.monotonic() + 10
    while list(bench.runtime.iterdir()):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.kill()
    process.communicate(timeout=30)


def test_what_a_kill_before_that_leaves_is_gone_after_the_next_start(bench: Bench) -> None:
    process = bench.start("--", "qemu-system-x86_64")
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.kill()
    process.communicate(timeout=30)
    assert len(list(bench.runtime.iterdir())) == 1
    assert bench.run("--", "qemu-system-x86_64", STATUS="0") == (0, "", "")
    assert list(bench.runtime.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_ends_qemu_and_leaves_nothing_behind(bench: Bench, number: signal.Signals) -> None:
    process = bench.start("--", "qemu-system-x86_64")
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=30)
    assert (process.returncode, stdout, stderr) == (40 + number, "", "")
    assert list(bench.runtime.iterdir()) == []
    assert bench.log[-1] == ["closed"]


def test_a_ctrl_c_reaches_qemu_once(bench: Bench) -> None:
    bench.qemu.write_text(COUNTING_QEMU)
    keyboard, terminal = pty.openpty()
    process = bench.start("--", "qemu-system-x86_64", terminal=terminal)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    # Held still until QEMU is done with the first one: two that come together count as one.
    process.send_signal(signal.SIGSTOP)
    os.waitpid(process.pid, os.WUNTRACED)
    os.write(keyboard, b"\x03")
    assert process.stdout.readline() == "interrupted\n"
    process.send_signal(signal.SIGTERM)  # passed on after the SIGINT, if that was passed on
    process.send_signal(signal.SIGCONT)
    _, stderr = process.communicate(timeout=30)
    assert (process.returncode, stderr) == (51, "")
    assert list(bench.runtime.iterdir()) == []
    os.close(keyboard)
    os.close(terminal)


def test_when_the_network_fails_qemu_is_ended(bench: Bench) -> None:
    status, _, stderr = bench.run("qemu-system-x86_64", FAIL="the packet worker died")
    assert (status, stderr) == (1, "wirebay: the packet worker died; ending QEMU\n")
    assert list(bench.runtime.iterdir()) == []


def test_without_a_user_network_qemu_runs_as_it_is(bench: Bench) -> None:
    result = bench.run("--", "qemu-system-x86_64", "-nic", "none", "-x", "a b", STATUS="5")
    assert result == (5, "", f"wirebay: {NOTHING_TO_SERVE}\n")
    assert bench.log == [["qemu", "-nic", "none", "-x", "a b"]]


def test_a_wrong_option_starts_nothing(bench: Bench) -> None:
    result = bench.run("--", "qemu-system-x86_64", "-nic", "user,net=x")
    assert result == (2, "", "wirebay: -nic user,net=x: Failed to parse netmask\n")
    assert (bench.log, list(bench.runtime.iterdir())) == ([], [])


@pytest.mark.parametrize(
    ("program", "sentence"),
    [
        (
            "qemu-system-aarch64-x",
            (
                "Could not start 'qemu-system-aarch64-x': No such file or directory; "
                "on Debian it is in the package qemu-system-misc"
            ),
        ),
        ("./qemu-system-arm", "Could not start './qemu-system-arm': No such file or directory"),
        ("no-such-emulator", "Could not start 'no-such-emulator': No such file or directory"),
        ("/etc/passwd", "Could not start '/etc/passwd': Permission denied"),
    ],
)
def test_a_qemu_that_is_not_there_is_one_sentence(
    program: str, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["qemu", "--", program, "-nic", "user"]) == 1
    assert capsys.readouterr() == ("", f"wirebay: {sentence}\n")


def test_the_package_of_a_missing_qemu_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["qemu", "qemu-system-x86_64"]) == 1
    assert capsys.readouterr().err.endswith("on Debian it is in the package qemu-system-x86\n")


def test_a_runtime_directory_too_deep_for_sockets_is_one_sentence(bench: Bench) -> None:
    deep = bench.runtime / ("x" * 100)
    deep.mkdir()
    status, _, stderr = bench.run("qemu-system-x86_64", XDG_RUNTIME_DIR=str(deep))
    assert status == 1
    assert stderr == (
        f"wirebay: the path '{deep}' is too long for unix sockets; set XDG_RUNTIME_DIR to a shorter one\n"
    )


def test_n_prints_the_command_line_and_starts_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert main(["qemu", "-n", "--", "/no/such/qemu", "-name", "it's", "-netdev", "user,id=u0"]) == 0
    printed = capsys.readouterr().out
    path = f"{tmp_path}/wirebay-XXXXXXXX/net0.sock"
    stream = f"stream,id=u0,server=off,addr.type=unix,addr.path={path}"
    assert shlex.split(printed) == ["/no/such/qemu", "-name", "it's", "-netdev", stream]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("argv", [["qemu"], ["qemu", "-n"], ["qemu", "--"]])
def test_without_a_command_line_there_is_nothing_to_do(
    argv: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(argv) == 2
    assert capsys.readouterr().err.startswith("wirebay qemu: give QEMU's command line, as in ")


def test_our_options_end_where_qemus_command_line_begins() -> None:
    assert split_command(["-n", "qemu", "-n"]) == (["-n"], ["qemu", "-n"])
    assert split_command(["-n", "--", "-odd", "--"]) == (["-n"], ["-odd", "--"])
    assert split_command(["-n"]) == (["-n"], [])
    assert split_command(["--transport", "auto", "qemu"]) == (["--transport", "auto"], ["qemu"])
