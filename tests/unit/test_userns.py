"""User namespaces: who is mapped, and what is told where they cannot be had."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from wirebay import _core, userns
from wirebay.errors import HostError


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """What was written into files of /proc, instead of writing it."""
    written: list[tuple[str, str]] = []
    monkeypatch.setattr(userns, "_write", lambda path, text: written.append((path, text)))
    return written


def test_an_ordinary_user_becomes_root_and_is_the_only_one(written: list[tuple[str, str]]) -> None:
    userns.map_one(1000, 100)
    assert written == [
        ("/proc/self/setgroups", "deny"),
        ("/proc/self/uid_map", "0 1000 1\n"),
        ("/proc/self/gid_map", "0 100 1\n"),
    ]


def test_root_takes_along_everybody_it_has(written: list[tuple[str, str]]) -> None:
    userns.map_everybody(42)
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

    monkeypatch.setattr(userns, "_write", write)
    userns.map_everybody(42)
    assert written == [
        ("/proc/42/setgroups", "deny"),
        ("/proc/42/uid_map", "0 0 1\n"),
        ("/proc/42/gid_map", "0 0 1\n"),
    ]


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.EPERM, "seccomp profile"),
        (errno.EACCES, "a security module"),
        (errno.ENOSPC, "sysctl -w user.max_user_namespaces"),
        (errno.EINVAL, "CONFIG_USER_NS"),
        (errno.ENOMEM, "Cannot allocate memory"),
    ],
)
def test_a_host_that_forbids_namespaces_gets_the_remedy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, number: int, remedy: str
) -> None:
    def refuse(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(_core, "unshare", refuse)
    monkeypatch.setattr(userns, "SYSCTLS", str(tmp_path))
    with pytest.raises(HostError, match=f"^user namespaces are not available: .*{remedy}"):
        userns.unshare_all()


CLONE, APPARMOR = "unprivileged_userns_clone", "apparmor_restrict_unprivileged_userns"


@pytest.mark.parametrize(
    ("settings", "commands"),
    [
        ({CLONE: "0"}, [f"{CLONE}=1"]),
        ({CLONE: "1", APPARMOR: "1"}, [f"{APPARMOR}=0"]),
        ({CLONE: "0", APPARMOR: "1"}, [f"{CLONE}=1", f"{APPARMOR}=0"]),
    ],
)
def test_the_setting_that_forbids_namespaces_is_the_remedy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, settings: dict[str, str], commands: list[str]
) -> None:
    """Making a namespace may be allowed, and the first use of it refused."""
    (tmp_path / "kernel").mkdir()
    for name, value in settings.items():
        (tmp_path / "kernel" / name).write_text(f"{value}\n")

    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(userns, "SYSCTLS", str(tmp_path))
    monkeypatch.setattr(userns, "_write", refuse)
    with pytest.raises(HostError) as caught:
        userns.become_root(1000, 1000)
    allowed = " and ".join(f"'sysctl -w kernel.{command}'" for command in commands)
    assert str(caught.value) == f"user namespaces are not available: allow them with {allowed}"
