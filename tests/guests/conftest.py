"""What the tests on real kernels share."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.guests.host import HostServers, payload
from tests.guests.image import ensure
from tests.guests.packages import ImageError
from tests.support import require_tool

SIZE = 100_000_000


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
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A new folder for everything temporary, so that what is left behind shows. Short: it holds sockets."""
    with tempfile.TemporaryDirectory(prefix="wb-") as name:
        monkeypatch.setenv("TMPDIR", name)
        monkeypatch.setattr(tempfile, "tempdir", None)
        yield Path(name)
