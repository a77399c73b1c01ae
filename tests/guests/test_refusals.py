"""What cannot work: one sentence that names the option or remedy, 2 for wrong usage and 1 for the host."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.guests.place import place
from tests.guests.processes import TIMEOUT, WIREBAY, failure
from tests.support import require_tool

QEMU = "qemu-system-x86_64"
NOT_OURS = "192.0.2.77"  # RFC 5737: no host has it

USAGE = [
    (["ns", "--mut", "9000", "--", "true"], "--mut"),
    (["ns", "--net", "10.0.2.0/99", "--", "true"], "--net 10.0.2.0/99"),
    (["ns", "--mtu", "70000", "--", "true"], "mtu"),
    (["ns", "--hostfwd", "tcp:127.0.0.1:x-:80", "--", "true"], "tcp:127.0.0.1:x-:80"),
    (["ns", "--pid", "1", "--", "true"], "--pid"),
    (["ns", "true"], "'true'"),
    (["serve"], "-netdev"),
    (["serve", "-netdev", "user,id=u0,net=10.0.2.0/99"], "netmask"),
    (["serve", "-netdev", "user,id=u0", "-netdev", "user,id=u0"], "u0"),
    (["serve", "-netdev", "user,id=u0", "--ready-fd", "99"], "--ready-fd"),
    (["qemu", "--", QEMU, "-nic", "user,mut=9000"], "mut"),
    (["qemu", "--", QEMU, "-nic", "user,net=10.0.2.0/99"], "netmask"),
    (["qemu", "--", QEMU, "-nic", "user,hostfwd=tcp:127.0.0.1:99999-:22"], "tcp:127.0.0.1:99999-:22"),
]
HOST = [
    (["ns", "--hostfwd", f"tcp:{NOT_OURS}:8080-:80", "--", "true"], NOT_OURS),
    (["ns", "--pid", "4194305"], "--pid 4194305"),  # over the kernel's PID_MAX_LIMIT
    (["serve", "-netdev", "tap,id=t0,ifname=a/b"], "a/b"),
    (["serve", "-netdev", "tap,id=t0,netns=/run/no/such/netns"], "/run/no/such/netns is gone"),
    (
        ["serve", "-netdev", "stream,id=s0,server=on,addr.type=unix,addr.path=/no/such/dir/s"],
        "/no/such/dir/s",
    ),
    (
        ["serve", "-netdev", f"stream,id=s0,server=on,addr.type=inet,addr.host={NOT_OURS},addr.port=0"],
        NOT_OURS,
    ),
    (["qemu", "--", "no-such-qemu", "-nic", "user"], "no-such-qemu"),
    (["qemu", "--", QEMU, "-nic", f"user,hostfwd=udp:{NOT_OURS}:8080-:22"], NOT_OURS),
]


@pytest.fixture
def taken() -> Iterator[int]:
    """A port of 127.0.0.1 that somebody has."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def identity(case: tuple[list[str], str]) -> str:
    return f"{case[0][0]}-{case[1]}"


def check(words: list[str], status: int, named: str) -> None:
    if QEMU in words:
        require_tool(QEMU, "qemu-system-x86")
    result, sentence = failure(words)
    assert (result, named in sentence) == (status, True), sentence


@pytest.mark.parametrize("case", USAGE, ids=identity)
def test_wrong_usage_is_one_sentence_with_status_2(case: tuple[list[str], str]) -> None:
    check(case[0], 2, case[1])


@pytest.mark.parametrize("case", HOST, ids=identity)
def test_what_the_host_does_not_have_is_one_sentence_with_status_1(case: tuple[list[str], str]) -> None:
    check(case[0], 1, case[1])


def test_a_port_in_use_is_one_sentence_with_status_1(taken: int) -> None:
    rule = f"tcp:127.0.0.1:{taken}-:22"
    for words in (
        ["ns", "--hostfwd", rule, "--", "true"],
        ["qemu", "--", QEMU, "-nic", f"user,hostfwd={rule}"],
        ["serve", "-netdev", f"user,id=u0,hostfwd={rule}"],
    ):
        check(words, 1, f"'{rule}': Address already in use")
    stream = f"stream,id=s0,server=on,addr.type=inet,addr.host=127.0.0.1,addr.port={taken}"
    check(["serve", "-netdev", stream], 1, f"127.0.0.1:{taken}")


def test_no_room_for_the_sockets_path_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    deep = tmp_path / ("x" * 100)
    deep.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(deep))
    check(["qemu", "--", QEMU, "-nic", "user"], 1, "XDG_RUNTIME_DIR")


@pytest.mark.parametrize("words", [["ns", "--", "true"], ["serve", "-netdev", "tap,id=t0"]], ids=" ".join)
def test_a_host_without_tun_is_one_sentence_with_the_remedy(words: list[str]) -> None:
    with place() as host:
        host.shell("mount -t tmpfs none /dev/net")
        status, sentence = failure(words, before=host.into)
    assert status == 1
    assert "/dev/net/tun" in sentence
    assert "modprobe tun" in sentence


def test_qemus_own_complaint_and_exit_status_are_ours() -> None:
    path = shutil.which(QEMU) or require_tool(QEMU, "qemu-system-x86")
    run = subprocess.run(
        [*WIREBAY, "qemu", "--", path, "-nic", "user", "-display", "nonsense"],
        capture_output=True, text=True, timeout=TIMEOUT, check=False,
    )  # fmt: skip
    assert run.returncode == 1
    assert "nonsense" in run.stderr
    assert "wirebay: " not in run.stderr
