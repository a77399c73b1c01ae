"""A machine without a disk: its card gets everything from the user network, and a Debian kernel starts."""

from __future__ import annotations

import functools
import http.server
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.guests.guest import netboot
from tests.guests.image import ensure
from tests.guests.processes import WIREBAY

QEMU = [*WIREBAY, "qemu", "--"]
SCRIPT = """#!ipxe
kernel vmlinuz console=ttyS0 quiet panic=-1
initrd initramfs.img
boot
"""
# The firmware alone takes some seconds under software emulation.
PATIENCE = 120.0

pytestmark = pytest.mark.usefixtures("qemu")


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """What is booted: a script of iPXE's, a kernel and its first root."""
    image = ensure()
    (tmp_path / "boot.ipxe").write_text(SCRIPT)
    shutil.copyfile(image.kernel, tmp_path / "vmlinuz")
    shutil.copyfile(image.initramfs, tmp_path / "initramfs.img")
    return tmp_path


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass


@contextmanager
def http_server(folder: Path) -> Iterator[int]:
    """The folder by HTTP, on a port of 127.0.0.1."""
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def check_boot(options: str, bootfile: str) -> None:
    """A machine with a network of these options boots from it, and has a network then, too."""
    network = ["-nic", f"user,model=virtio-net-pci,{options},bootfile={bootfile}"]
    with netboot(QEMU, network, "ping -c 1 10.0.2.2 > /dev/null && echo @reached") as guest:
        lease = guest.fields("@lease", PATIENCE)
        assert (lease["ip"], lease["bootfile"]) == ("10.0.2.15", bootfile)
        guest.line("@reached")
        assert guest.finish() == 0


def test_a_machine_boots_over_tftp(files: Path) -> None:
    check_boot(f"tftp={files}", "boot.ipxe")


def test_a_machine_boots_over_http(files: Path) -> None:
    with http_server(files) as port:
        check_boot("hostname=guest7", f"http://10.0.2.2:{port}/boot.ipxe")
