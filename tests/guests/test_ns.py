"""`wirebay ns` on this kernel: real namespaces, a real TAP, the real worker."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile  # noqa: F401 - before a test gives up the right to read it
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.guests.console import tied
from tests.guests.host import HostServers, digest, exchange, free_port, payload
from tests.guests.processes import WIREBAY, wait_for
from tests.support import require_namespaces, require_tool

NS = [*WIREBAY, "ns"]
TIMEOUT = 30.0
MEGABYTE = 1 << 20

FACTS = """
import json, os, socket, subprocess
print(json.dumps({
    "links": subprocess.run(["ip", "-json", "addr"], capture_output=True, text=True).stdout,
    "routes": subprocess.run(["ip", "-json", "route"], capture_output=True, text=True).stdout,
    "resolv": open("/etc/resolv.conf").read(),
    "ids": [os.getuid(), os.getgid()],
    "held": [os.path.realpath(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if int(fd) > 2],
}))
"""
FAMILIES = """
import json, socket, subprocess
def default(family):
    return "default" in subprocess.run(["ip", family, "route"], capture_output=True, text=True).stdout
print(json.dumps({
    "ipv4": default("-4"), "ipv6": default("-6"), "resolv": open("/etc/resolv.conf").read(),
    "db": socket.gethostbyname("db"),
}))
"""
FETCH = """
import hashlib, socket, sys
guest = socket.create_connection((sys.argv[1], int(sys.argv[2])))
data = b"".join(iter(lambda: guest.recv(1 << 20), b""))
print(hashlib.sha256(data).hexdigest())
"""
# Serves what the host serves on a port of its own, to the command that follows, which gets the port as last
# word.
RELAY = """
import socket, subprocess, sys, threading
server = socket.create_server(("127.0.0.1", 0))
def relay():
    client, _ = server.accept()
    with client, socket.create_connection(("10.0.2.2", int(sys.argv[1]))) as source:
        while data := source.recv(1 << 20):
            client.sendall(data)
threading.Thread(target=relay, daemon=True).start()
sys.exit(subprocess.run([*sys.argv[2:], str(server.getsockname()[1])]).returncode)
"""
ECHO_ONCE = """
import socket
server = socket.create_server(("0.0.0.0", 7))
connection, (address, port) = server.accept()
data = b"".join(iter(lambda: connection.recv(1 << 20), b""))
connection.sendall(data)
connection.close()
print(address)
"""


@pytest.fixture(autouse=True, scope="module")
def namespaces_and_tun() -> None:
    """Skip, or fail in CI, where this host cannot do it at all."""
    require_namespaces()


def inside(*command: str, options: str = "", stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command with `wirebay ns` and wait for it."""
    return subprocess.run(
        [*NS, *options.split(), "--", *command],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
        input=stdin,
    )


def python_inside(code: str, *arguments: str, options: str = "") -> str:
    """Run a Python program inside; what it printed."""
    run = inside(sys.executable, "-c", code, *arguments, options=options)
    assert (run.returncode, run.stderr) == (0, "")
    return run.stdout.strip()


@contextmanager
def running(*words: str) -> Iterator[subprocess.Popen[str]]:
    """`wirebay ns` with these words, up: its network is ready. It is killed at the end if it still runs."""
    ready, told = os.pipe()
    command = [*NS, "--ready-fd", str(told), *words]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        tied(command), pass_fds=[told], stdin=pipe, stdout=pipe, stderr=pipe, text=True
    ) as program:
        os.close(told)
        try:
            with os.fdopen(ready, "rb") as file:
                assert file.read() == b"1", program.stderr and program.stderr.read()
            yield program
        finally:
            program.kill()


# The namespace as COMMAND finds it.


def test_the_interface_comes_with_address_route_and_resolver() -> None:
    require_tool("ip", "iproute2")
    facts = json.loads(python_inside(FACTS, options="--mtu 9000"))
    lo, tap = json.loads(facts["links"])
    assert (lo["ifname"], "UP" in lo["flags"]) == ("lo", True)
    assert (tap["ifname"], "UP" in tap["flags"], tap["mtu"], tap["txqlen"]) == ("tap0", True, 9000, 10000)
    assert [
        (a["local"], a["prefixlen"], a["broadcast"]) for a in tap["addr_info"] if a["family"] == "inet"
    ] == [("10.0.2.15", 24, "10.0.2.255")]
    default = next(route for route in json.loads(facts["routes"]) if route["dst"] == "default")
    assert (default["gateway"], default["dev"]) == ("10.0.2.2", "tap0")
    assert facts["resolv"] == "nameserver 10.0.2.3\n"
    assert facts["ids"] == [0, 0]


def test_another_network_and_interface_name_can_be_chosen() -> None:
    require_tool("ip", "iproute2")
    facts = json.loads(python_inside(FACTS, options="--net 192.168.7.0/25 --ifname eth0"))
    link = json.loads(facts["links"])[1]
    assert (link["ifname"], link["addr_info"][0]["local"]) == ("eth0", "192.168.7.15")
    assert facts["resolv"] == "nameserver 192.168.7.3\n"


def test_the_command_inherits_nothing_of_ours() -> None:
    require_tool("ip", "iproute2")
    held = json.loads(python_inside(FACTS))["held"]
    assert [name for name in held if any(word in name for word in ("tun", "socket:", "anon_inode:"))] == []


def test_the_host_keeps_its_own_resolv_conf_and_interfaces(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    resolv, links = Path("/etc/resolv.conf").read_text(), socket.if_nameindex()
    with running("--", "cat"):
        assert Path("/etc/resolv.conf").read_text() == resolv
        assert socket.if_nameindex() == links
        assert not list(tmp_path.iterdir())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can bring other users along")
def test_under_root_programs_inside_can_change_users() -> None:
    assert (
        python_inside("import os; os.setgid(33); os.setuid(33); print(os.getuid(), os.getgid())") == "33 33"
    )


# COMMAND's end is ours.


@pytest.mark.parametrize(
    ("command", "status"),
    [
        (["true"], 0),
        (["sh", "-c", "exit 7"], 7),
        (["sh", "-c", "kill -KILL $$"], 137),
        (["/"], 126),
        (["no-such"], 127),
    ],
)
def test_the_exit_status_is_that_of_the_command(command: list[str], status: int) -> None:
    run = inside(*command)
    assert run.returncode == status
    assert run.stderr.count("\n") == (1 if status in (126, 127) else 0)


def test_standard_streams_are_those_of_the_caller() -> None:
    run = inside("sh", "-c", "cat; echo said >&2", stdin="hello")
    assert (run.stdout, run.stderr) == ("hello", "said\n")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_signals_reach_the_command(number: signal.Signals) -> None:
    script = (
        f"trap 'echo caught; exit 9' {number.name.removeprefix('SIG')}; echo up; while :; do sleep 0.05; done"
    )
    with running("--", "sh", "-c", script) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "up\n"
        program.send_signal(number)
        assert program.wait(TIMEOUT) == 9
        assert program.stdout.read() == "caught\n"


# The families.


@pytest.mark.parametrize(
    ("options", "has_ipv4", "has_ipv6", "server"),
    [("-4", True, False, "10.0.2.3"), ("-6", False, True, "fec0::3"), ("", True, True, "10.0.2.3")],
)
def test_a_namespace_has_the_families_it_was_told_and_resolves_names_over_them(
    options: str, has_ipv4: bool, has_ipv6: bool, server: str
) -> None:
    require_tool("ip", "iproute2")
    out = python_inside(FAMILIES, options=f"{options} --user host-record=db.lab=192.0.2.7,dnssearch=lab")
    facts = json.loads(out)
    assert (facts["ipv4"], facts["ipv6"]) == (has_ipv4, has_ipv6)
    assert facts["resolv"] == f"nameserver {server}\nsearch lab\n"
    assert facts["db"] == "192.0.2.7"


# The network works.


def test_a_server_on_the_host_is_reached_at_the_gateway() -> None:
    blob = payload(8 * MEGABYTE)
    with HostServers(blob) as servers:
        assert python_inside(FETCH, "10.0.2.2", str(servers.download)) == digest(blob)


def test_host_loopback_off_keeps_the_hosts_servers_out_of_reach() -> None:
    with HostServers(b"secret") as servers:
        run = inside(
            sys.executable, "-c", FETCH, "10.0.2.2", str(servers.download), options="--host-loopback off"
        )
    assert run.returncode == 1
    assert "Refused" in run.stderr or "unreachable" in run.stderr


def test_a_forward_lets_connections_in_with_the_gateway_as_their_source() -> None:
    port, data = free_port(), payload(MEGABYTE)
    with running("--hostfwd", f"tcp:127.0.0.1:{port}-:7", "--", sys.executable, "-c", ECHO_ONCE) as program:
        assert exchange(port, data) == data
        assert program.wait(TIMEOUT) == 0
        assert program.stdout is not None
        assert program.stdout.read() == "10.0.2.2\n"


def test_a_forward_whose_port_is_taken_is_one_sentence_and_nothing_runs(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        rule = f"tcp:127.0.0.1:{taken.getsockname()[1]}-:80"
        run = inside("touch", str(tmp_path / "ran"), options=f"--hostfwd {rule}")
    assert run.returncode == 1
    assert run.stderr.count("\n") == 1
    assert rule in run.stderr
    assert not (tmp_path / "ran").exists()


def test_an_mtu_and_a_name_the_kernel_refuses_are_one_sentence() -> None:
    for options, words in (("--ifname a/b", "a/b"), ("--ifname lo", "lo")):
        run = inside("true", options=options)
        assert run.returncode in (1, 2)
        assert run.stderr.count("\n") == 1
        assert words in run.stderr


def test_a_namespace_in_a_namespace_has_a_network_too() -> None:
    blob = payload(MEGABYTE)
    with HostServers(blob) as servers:
        outer = python_inside(
            RELAY, str(servers.download), *NS, "--", sys.executable, "-c", FETCH, "10.0.2.2"
        )
    assert outer == digest(blob)


# An existing namespace.


@contextmanager
def stranger(*unshare: str) -> Iterator[subprocess.Popen[str]]:
    """A process in a namespace of its own without network, which reads a program from stdin and runs it."""
    command = [require_tool("unshare", "util-linux"), *unshare, sys.executable, "-c", "exec(input())"]
    pipe = subprocess.PIPE
    host = os.stat("/proc/self/ns/net").st_ino  # noqa: PTH116
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        try:
            path = Path(f"/proc/{process.pid}/ns/net")
            wait_for("the namespace", lambda: path.stat().st_ino != host)
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("unshare", [("--user", "--map-root-user", "--net"), ("--net",)])
def test_an_existing_namespace_is_served_until_its_process_ends(unshare: tuple[str, ...]) -> None:
    if "--user" not in unshare and os.geteuid() != 0:
        pytest.skip("only root makes network namespaces without a user namespace")
    blob = payload(MEGABYTE)
    with (
        HostServers(blob) as servers,
        stranger(*unshare) as process,
        running("--pid", str(process.pid)) as program,
    ):
        script = f"import sys; sys.argv = ['', '10.0.2.2', '{servers.download}']; exec({FETCH!r})\n"
        assert process.communicate(script, TIMEOUT)[0] == digest(blob) + "\n"
        assert program.wait(TIMEOUT) == 0
        assert program.stderr is not None
        assert program.stderr.read() == ""


def test_serving_a_namespace_ends_with_a_signal_and_leaves_its_process_alone() -> None:
    with stranger("--user", "--map-root-user", "--net") as process:
        with running("--pid", str(process.pid)) as program:
            program.send_signal(signal.SIGTERM)
            assert program.wait(TIMEOUT) == 0
        assert process.poll() is None
        out, _ = process.communicate("import socket; print(socket.if_nameindex())\n", TIMEOUT)
        assert "tap0" not in out


def test_a_namespace_that_has_such_an_interface_already_is_one_sentence() -> None:
    with stranger("--user", "--map-root-user", "--net") as process, running("--pid", str(process.pid)):
        run = subprocess.run(
            [*NS, "--pid", str(process.pid)], capture_output=True, text=True, timeout=TIMEOUT, check=False
        )
    assert run.returncode == 1
    assert run.stderr.count("\n") == 1
    assert "tap0" in run.stderr


def test_ready_tells_when_the_network_is_up_not_before() -> None:
    """Nothing is written for a network that never comes up, and the waiting side sees the end."""
    ready, told = os.pipe()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        rule = f"tcp:127.0.0.1:{taken.getsockname()[1]}-:80"
        command = [*NS, "--ready-fd", str(told), "--hostfwd", rule, "--", "true"]
        with subprocess.Popen(command, pass_fds=[told], stderr=subprocess.DEVNULL) as program:
            os.close(told)
            assert select.select([ready], [], [], TIMEOUT)[0]
            assert os.read(ready, 10) == b""
            assert program.wait(TIMEOUT) == 1
    os.close(ready)
