"""A folder of the host, shared with a guest by the real smbd and taken by the real smbclient."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.guests.site import Site, visitor
from tests.guests.test_ns import namespaces_and_tun as namespaces_and_tun
from tests.support import require_tool

pytestmark = [
    pytest.mark.usefixtures("namespaces_and_tun"),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root opens a card in a namespace of another's"),
]


@pytest.fixture
def share(tmp_path: Path) -> Path:
    folder = tmp_path / "share"
    folder.mkdir()
    (folder / "hello").write_text("hello\n")
    return folder


@pytest.fixture
def here(tmp_path: Path, share: Path) -> Iterator[Site]:
    require_tool("smbd", "samba")
    require_tool("smbclient", "smbclient")
    with visitor(tmp_path, f"smb={share}") as here:
        here.configure()
        yield here


def test_smbclient_lists_the_share(here: Site) -> None:
    assert "Disk|qemu|" in here.guest.run("smbclient", "-N", "-g", "-L", "//10.0.2.4")


def test_smbclient_reads_and_writes(here: Site, share: Path, tmp_path: Path) -> None:
    got = tmp_path / "got"
    here.guest.run("smbclient", "-N", "//10.0.2.4/qemu", "-c", f"get hello {got}; put {got} back")
    assert got.read_text() == (share / "back").read_text() == "hello\n"
    assert (share / "back").stat().st_uid == os.geteuid()
