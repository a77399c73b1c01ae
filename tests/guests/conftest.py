"""What the tests on real kernels share."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.guests.host import HostServers, payload
from tests.guests.image import ensure
from tests.guests.packages import ImageError
from tests.guests.processes import children
from tests.support import require_tool

SIZE = 100_000_000
PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
END_SECONDS = 10.0


@pytest.fixture(scope="session")
def qemu() -> str:
    """The path of QEMU, with a guest image made; where one cannot be had tests are skipped, or fail in CI."""
    path = require_tool("qemu-system-x86_64", "qemu-system-x86")
    try:
        ensure()
    except ImageError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(str(error))
    return path


@pytest.fixture
def servers() -> Iterator[HostServers]:
    """Servers on the host with 100 MB to download."""
    with HostServers(payload(SIZE)) as servers:
        yield servers


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A new folder for everything temporary, so that what is left behind shows. Short: it holds sockets."""
    tmp_path_factory.getbasetemp()  # pytest's own is made elsewhere, before this
    with tempfile.TemporaryDirectory(prefix="wb-") as name:
        monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
        monkeypatch.setenv("TMPDIR", name)
        monkeypatch.setattr(tempfile, "tempdir", None)
        yield Path(name)


@pytest.fixture(scope="session")
def all_orphans_are_ours() -> None:
    """Become the parent of all that the programs we start leave behind."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


@pytest.fixture(autouse=True)
def nothing_is_left_behind(all_orphans_are_ours: None, folder: Path) -> Iterator[None]:
    """After every test here: no process, no interface, no file."""
    interfaces = taps()
    yield
    left = wait_for_children()
    for pid in left:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    assert not left, "processes were left behind"
    assert taps() == interfaces
    assert list(folder.iterdir()) == []


def taps() -> set[str]:
    """The interfaces of this host that might be ours."""
    return {name for _, name in socket.if_nameindex() if name.startswith("tap")}


def wait_for_children() -> list[int]:
    """Wait until all our children have ended, a while; returns those that have not."""
    end = time.monotonic() + END_SECONDS
    while time.monotonic() < end:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return []
        if not pid:
            time.sleep(0.01)
    return children(os.getpid())
