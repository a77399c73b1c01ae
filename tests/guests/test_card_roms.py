"""A second driver for each card: iPXE, from the card's own option ROM, gets a lease and boots over TFTP."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tests.guests.console import Console
from tests.guests.newer_qemu import Qemu, require_newer_qemu
from tests.guests.processes import running, wait_for

# iPXE finds no virtio-net it wants to drive here, and leaves without touching a register.
ROMS = {
    "ne2k_pci": "ne2k_pci",
    "e1000": "e1000",
    "rtl8139": "rtl8139",
    "pcnet": "pcnet",
}
PATIENCE = 90.0


@pytest.fixture(scope="module")
def newer() -> Qemu:
    """QEMU with vfio-user."""
    return require_newer_qemu()


class Web:
    """A server of this host that hears what a script of iPXE's asks for."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.heard = threading.Event()
        web = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                web.asked.append(self.path)
                self.send_response(200)
                self.end_headers()
                web.heard.set()

            def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - its name there
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_port


@pytest.fixture
def web() -> Iterator[Web]:
    web = Web()
    thread = threading.Thread(target=web.server.serve_forever)
    thread.start()
    yield web
    web.server.shutdown()
    thread.join()
    web.server.server_close()


@contextmanager
def card(folder: Path, words: str, netdev: str) -> Iterator[Path]:
    socket = folder / "card.sock"
    with running(["card", words, "--socket", str(socket), "-netdev", netdev]) as process:
        wait_for("the card's socket", socket.exists)
        yield socket
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


@pytest.mark.parametrize("model", ROMS)
def test_ipxe_boots_from_the_card(newer: Qemu, folder: Path, tmp_path: Path, web: Web, model: str) -> None:
    script = f"#!ipxe\nimgfetch http://10.0.2.2:{web.port}/${{net0/mac}}/${{net0/ip}}\n"
    (tmp_path / "boot.ipxe").write_text(script)
    netdev = f"user,id=u0,tftp={tmp_path},bootfile=boot.ipxe"
    rom = newer.roms / f"pxe-{ROMS[model]}.rom"
    with card(folder, f"{model},rom={rom}", netdev) as socket:
        device = {"driver": "vfio-user-pci", "socket": {"type": "unix", "path": str(socket)}}
        words = ["-accel", "tcg", "-m", "64", "-object", "memory-backend-memfd,id=m,size=64M,share=on"]
        words += ["-machine", "pc,memory-backend=m", "-nodefaults", "-display", "none"]
        with Console([*newer.words, *words, "-device", json.dumps(device)]):
            assert web.heard.wait(PATIENCE), "iPXE has not asked"
    assert web.asked[0] == "/52:54:00:12:34:56/10.0.2.15"
