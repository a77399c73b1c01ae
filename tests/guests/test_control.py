"""Control of a namespace's network from outside, and not from inside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.guests.host import exchange, payload
from tests.guests.processes import WIREBAY, running, started, wait_for
from tests.support import require_tool
from wirebay.cli import probes

TIMEOUT = 30.0

ECHO_ONCE = """
import socket
server = socket.create_server(("0.0.0.0", 7))
print("listening", flush=True)
connection, _ = server.accept()
connection.sendall(b"".join(iter(lambda: connection.recv(1 << 20), b"")))
connection.close()
"""


@pytest.fixture(autouse=True, scope="module")
def namespaces_and_tun() -> None:
    """Skip, or fail in CI, where this host cannot do it at all."""
    for failure in probes.try_namespace()[:2]:
        if failure and os.environ.get("CI") == "true":
            pytest.fail(failure)
        if failure:
            pytest.skip(failure)


def ctl(path: Path, *words: str) -> str:
    """What `wirebay ctl` prints."""
    run = subprocess.run(
        [*WIREBAY, "ctl", "--socket", str(path), *words], capture_output=True, text=True, timeout=TIMEOUT
    )
    assert (run.returncode, run.stderr) == (0, "")
    return run.stdout


def test_a_forward_is_opened_to_a_program_that_runs_already(tmp_path: Path) -> None:
    path, data = tmp_path / "control.sock", payload(1 << 20)
    with running(["ns", "--control", str(path), "--", sys.executable, "-c", ECHO_ONCE]) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "listening\n"
        assert "user network 10.0.2.0/24" in ctl(path, "ports")
        opened = ctl(path, "forwards", "add", "tcp:127.0.0.1:0-:7")
        assert exchange(int(opened.split()[0].rpartition(":")[2]), data) == data
        assert program.wait(TIMEOUT) == 0
        assert program.stderr is not None
        assert program.stderr.read() == ""
    assert not path.exists()


def test_a_guest_answers_its_first_ping_and_the_others(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    with running(["ns", "--control", str(path), "--", "sleep", "60"]):
        lines = ctl(path, "ping", "user0", "-c", "2").splitlines()
    assert len(lines) == 2
    assert all(line.startswith("56 bytes from 10.0.2.15: ttl=64 time=") for line in lines)


def test_the_command_inside_cannot_control_its_own_network(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    words = [*WIREBAY, "ctl", "--socket", str(path), "forwards", "add", "tcp:127.0.0.1:0-:7"]
    run = subprocess.run(
        [*WIREBAY, "ns", "--control", str(path), "--", *words],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )
    assert run.returncode == 1
    assert run.stdout == ""
    sentence = "this wirebay is controlled by its owner only, and from its own network namespace"
    assert run.stderr.splitlines()[-1] == f"wirebay: {sentence}"


def test_the_network_of_a_virtual_machine_is_controlled(tmp_path: Path) -> None:
    qemu = require_tool("qemu-system-x86_64", "qemu-system-x86")
    path = tmp_path / "control.sock"
    machine = [qemu, "-M", "none", "-nodefaults", "-display", "none", "-netdev", "user,id=u0"]
    with started([*WIREBAY, "qemu", "--control", str(path), *machine]) as program:
        wait_for("the socket", path.exists)
        wait_for("QEMU", lambda: "stream,unix:" in ctl(path, "hmp", "info network"))
        ports = json.loads(ctl(path, "ports", "--json"))
        assert [(port["id"], port["hub"]) for port in ports] == [("u0", "#1"), ("#u0", "#1")]
        assert ctl(path, "forwards", "add", "udp:127.0.0.1:0-:53", "--port", "u0")
        program.terminate()
        assert program.wait(TIMEOUT) == 0
    assert not path.exists()


def test_a_socket_that_is_taken_keeps_the_command_from_running(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    path.touch()
    run = subprocess.run(
        [*WIREBAY, "ns", "--control", str(path), "--", "touch", str(tmp_path / "ran")],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )
    assert run.returncode == 1
    assert run.stderr == f"wirebay: --control {path}: the path exists and is not a socket\n"
    assert not (tmp_path / "ran").exists()
