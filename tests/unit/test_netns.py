"""Namespaces, without making one: id maps, resolv.conf, becoming COMMAND, and every refusal."""

from __future__ import annotations

import errno
import os
import signal
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest

from wirebay import _core, netns
from wirebay.errors import HostError
from wirebay.forked import Child
from wirebay.ifconfig import GuestConfig

GUEST = GuestConfig(address=None, gateway=None, dns=IPv4Address("10.0.2.3"))


def status_of(*command: str) -> int:
    """Run a command the way a guest becomes it; its status, negative for a signal."""
    child = Child.fork(lambda channel: netns._execute(command))
    status = os.waitstatus_to_exitcode(os.waitpid(child.pid, 0)[1])
    child.close()
    return status


def test_a_command_runs_with_its_arguments_and_its_status_counts() -> None:
    assert status_of("sh", "-c", 'exit "$1"', "sh", "7") == 7


def test_a_command_that_is_not_found_ends_with_127(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    missing = str(tmp_path / "missing")
    assert status_of("no-such-command-here") == 127
    assert status_of(missing) == 127
    assert capfd.readouterr().err.splitlines() == [
        "wirebay: no-such-command-here: command not found",
        f"wirebay: {missing}: No such file or directory",
    ]


def test_a_command_that_cannot_be_executed_ends_with_126(
    capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    plain = tmp_path / "plain"
    plain.touch(0o644)
    assert status_of(str(plain)) == 126
    assert capfd.readouterr().err == f"wirebay: {plain}: Permission denied\n"


def test_a_command_starts_with_the_usual_answer_to_sigpipe() -> None:
    assert status_of("sh", "-c", "kill -PIPE $$; exit 0") == -signal.SIGPIPE


class Mounts:
    """Stands in for the mounts: what was bound where, what it said then, and what is mounted and detached."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seen: list[tuple[str, str, int]] = []
        self.calls: list[tuple[str, str]] = []
        monkeypatch.setattr(_core, "bind_mount", self.bind)
        monkeypatch.setattr(_core, "mount_tmpfs", lambda place: self.calls.append(("tmpfs", place)))
        monkeypatch.setattr(_core, "detach_mount", lambda place: self.calls.append(("detach", place)))

    def bind(self, source: str, target: str) -> None:
        path = Path(source)
        self.seen.append((target, path.read_text(), path.stat().st_mode & 0o777))


def test_resolv_conf_is_covered_at_its_real_path_from_a_file_system_that_goes_at_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    mounts = Mounts(monkeypatch)
    real, link = tmp_path / "stub-resolv.conf", tmp_path / "link.conf"
    real.write_text("nameserver 127.0.0.53\n")
    link.symlink_to(real)
    netns.mount_resolv_conf(GUEST, str(link), str(tmp_path))
    assert mounts.seen == [(str(real), "nameserver 10.0.2.3\n", 0o644)]
    assert mounts.calls == [("tmpfs", str(tmp_path)), ("detach", str(tmp_path))]


def test_search_domains_stand_in_resolv_conf() -> None:
    guest = GuestConfig(
        address=None, gateway=None, dns=IPv6Address("fec0::3"), search=("lab.example", "example.org")
    )
    assert netns.resolv_conf(guest) == "nameserver fec0::3\nsearch lab.example example.org\n"


def test_a_resolv_conf_that_cannot_be_covered_is_warned_about(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def refuse(*_: str) -> None:
        raise FileNotFoundError(errno.ENOENT, "No such file or directory")

    mounts = Mounts(monkeypatch)
    monkeypatch.setattr(_core, "bind_mount", refuse)
    path = tmp_path / "missing.conf"
    netns.mount_resolv_conf(GUEST, str(path), str(tmp_path))
    why = "cannot be replaced inside: No such file or directory; name 10.0.2.3 there"
    assert capfd.readouterr().err == f"wirebay: warning: {path} {why}\n"
    assert mounts.calls[-1] == ("detach", str(tmp_path))


def test_a_namespace_that_is_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(HostError, match=f"^the network namespace {tmp_path}/gone is gone$"):
        netns.open_tap_in(str(tmp_path / "gone"))


def test_a_file_that_is_no_namespace_is_named() -> None:
    with pytest.raises(HostError, match=r"^/dev/null is no network namespace$"):
        netns.open_tap_in("/dev/null")


def test_a_namespace_that_may_not_be_entered_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: int) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(_core, "setns", refuse)
    with pytest.raises(
        HostError, match=r"^the network namespace /proc/self/ns/net may not be entered: .*as root$"
    ):
        netns.open_tap_in("/proc/self/ns/net")
