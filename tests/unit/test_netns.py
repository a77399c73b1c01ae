"""Namespaces, without making one: id maps, resolv.conf, becoming COMMAND, and every refusal."""

from __future__ import annotations

import errno
import os
import signal
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from wirebay import _core, netns
from wirebay.errors import HostError
from wirebay.forked import Child

DNS = IPv4Address("10.0.2.3")


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
    netns.mount_resolv_conf(DNS, str(link), str(tmp_path))
    assert mounts.seen == [(str(real), "nameserver 10.0.2.3\n", 0o644)]
    assert mounts.calls == [("tmpfs", str(tmp_path)), ("detach", str(tmp_path))]


def test_a_resolv_conf_that_cannot_be_covered_is_warned_about(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def refuse(*_: str) -> None:
        raise FileNotFoundError(errno.ENOENT, "No such file or directory")

    mounts = Mounts(monkeypatch)
    monkeypatch.setattr(_core, "bind_mount", refuse)
    path = tmp_path / "missing.conf"
    netns.mount_resolv_conf(DNS, str(path), str(tmp_path))
    why = "cannot be replaced inside: No such file or directory; name 10.0.2.3 there"
    assert capfd.readouterr().err == f"wirebay: warning: {path} {why}\n"
    assert mounts.calls[-1] == ("detach", str(tmp_path))


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """What was written into files of /proc, instead of writing it."""
    written: list[tuple[str, str]] = []
    monkeypatch.setattr(netns, "_write", lambda path, text: written.append((path, text)))
    return written


def test_an_ordinary_user_becomes_root_and_is_the_only_one(written: list[tuple[str, str]]) -> None:
    netns.map_one(1000, 100)
    assert written == [
        ("/proc/self/setgroups", "deny"),
        ("/proc/self/uid_map", "0 1000 1\n"),
        ("/proc/self/gid_map", "0 100 1\n"),
    ]


def test_root_takes_along_everybody_it_has(written: list[tuple[str, str]]) -> None:
    netns.map_everybody(42)
    assert [path for path, _ in written] == ["/proc/42/uid_map", "/proc/42/gid_map"]
    for _, text in written:
        ranges = [line.split() for line in text.splitlines()]
        assert ranges
        assert all(inside == outside for inside, outside, _ in ranges)


def test_root_that_may_not_map_others_maps_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[tuple[str, str]] = []

    def write(path: str, text: str) -> None:
        if path == "/proc/42/uid_map" and text != "0 0 1\n":
            raise PermissionError(errno.EPERM, "Operation not permitted")
        written.append((path, text))

    monkeypatch.setattr(netns, "_write", write)
    netns.map_everybody(42)
    assert written == [
        ("/proc/42/setgroups", "deny"),
        ("/proc/42/uid_map", "0 0 1\n"),
        ("/proc/42/gid_map", "0 0 1\n"),
    ]


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.EPERM, "kernel.unprivileged_userns_clone=1"),
        (errno.EACCES, "kernel.apparmor_restrict_unprivileged_userns=0"),
        (errno.ENOSPC, "sysctl -w user.max_user_namespaces"),
        (errno.EINVAL, "CONFIG_USER_NS"),
        (errno.ENOMEM, "Cannot allocate memory"),
    ],
)
def test_a_host_that_forbids_namespaces_gets_the_remedy(
    monkeypatch: pytest.MonkeyPatch, number: int, remedy: str
) -> None:
    def refuse(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(_core, "unshare", refuse)
    with pytest.raises(HostError, match=f"^user namespaces are not available: .*{remedy}"):
        netns.unshare_all()


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
