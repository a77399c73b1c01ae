"""A machine without a disk: an iPXE option ROM and nothing else boots a Debian kernel from the network."""

from __future__ import annotations

import http.server
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from tests.guests.console import Console
from tests.guests.guest import MACHINE
from tests.guests.guest import QEMU as PROGRAM
from tests.guests.image import ensure
from tests.guests.processes import WIREBAY

pytestmark = pytest.mark.usefixtures("qemu")

BOOT_SECONDS = 150.0
SCRIPT = """\
#!ipxe
kernel vmlinuz console=ttyS0 quiet panic=-1
initrd initramfs.img
boot
"""


@pytest.fixture
def files(folder: Path) -> Iterator[Path]:
    """What is to be booted, in a directory of its own."""
    files = folder / "boot"
    files.mkdir()
    image = ensure()
    shutil.copy(image.kernel, files / "vmlinuz")
    shutil.copy(image.initramfs, files / "initramfs.img")
    (files / "boot.ipxe").write_text(SCRIPT)
    yield files
    shutil.rmtree(files)


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
        """Say nothing."""


@contextmanager
def http_server(files: Path) -> Iterator[int]:
    """A web server of these files on 127.0.0.1; its port."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=files)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def boots(options: str) -> dict[str, str]:
    """Boot from the network; the lease that the booted kernel gets in turn."""
    network = ["-boot", "n", "-nic", f"user,model=virtio-net-pci,{options}"]
    with Console([*WIREBAY, "qemu", "--", PROGRAM, *MACHINE, "-m", "512", *network]) as guest:
        lease = guest.fields("@lease", BOOT_SECONDS)
        assert guest.finish() == 0
    return lease


def test_a_kernel_is_booted_over_tftp(files: Path) -> None:
    assert boots(f"tftp={files},bootfile=boot.ipxe")["bootfile"] == "boot.ipxe"


def test_a_kernel_is_booted_over_http(files: Path) -> None:
    with http_server(files) as port:
        assert boots(f"bootfile=http://10.0.2.2:{port}/boot.ipxe")["ip"] == "10.0.2.15"
