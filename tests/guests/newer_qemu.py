"""A QEMU that can use cards of another process (vfio-user-pci, QEMU 10.1): the host's, or one made here."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.guests.image import CACHE, ensure
from tests.guests.packages import ImageError

DEVICE = "vfio-user-pci"
MKROOT = Path(__file__).parents[2] / "tools" / "mkroot.sh"
# What `tools/mkroot.sh` makes, or a folder that was made by it before.
ROOT = Path(os.environ.get("WIREBAY_ROOT", CACHE.parent / "root"))
MAKE_SECONDS = 900


@dataclass(frozen=True, kw_only=True, slots=True)
class Qemu:
    """The words that run QEMU, and the folder of iPXE's option ROMs."""

    words: tuple[str, ...]
    roms: Path


def require_newer_qemu() -> Qemu:
    """The same for a test, and the guest's image; without, the test is skipped, or fails in CI."""
    try:
        ensure()
        return newer_qemu()
    except ImageError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(str(error))


def newer_qemu() -> Qemu:
    """A QEMU with vfio-user-pci. Raises ImageError where there is none and none can be made."""
    host = Qemu(words=("qemu-system-x86_64",), roms=Path("/usr/lib/ipxe/qemu"))
    if has_device(host):
        return host
    if not (ROOT / "usr/bin/qemu-system-x86_64").exists():
        make_root()
    made = in_root(ROOT)
    if not has_device(made):
        raise ImageError(f"the QEMU in {ROOT} has no {DEVICE}.")
    return made


def in_root(root: Path) -> Qemu:
    """The QEMU of another Debian, run with that Debian's libraries: its files are ours, without chroot."""
    libraries = root / "usr/lib/x86_64-linux-gnu"
    # Else it would load the modules of the host's own QEMU.
    words = ("env", f"QEMU_MODULE_DIR={libraries / 'qemu'}", str(root / "lib64/ld-linux-x86-64.so.2"))
    program = ("--library-path", str(libraries), str(root / "usr/bin/qemu-system-x86_64"))
    folders = (word for name in ("qemu", "seabios") for word in ("-L", str(root / "usr/share" / name)))
    return Qemu(words=(*words, *program, *folders), roms=root / "usr/share/qemu")


def has_device(qemu: Qemu) -> bool:
    """Whether it knows the device."""
    try:
        run = subprocess.run(
            [*qemu.words, "-device", f"{DEVICE},help"], capture_output=True, timeout=60, check=False
        )
    except OSError:
        return False
    return b"rombar" in run.stdout


def make_root() -> None:
    """Make it; needs root. Raises ImageError."""
    if os.geteuid() != 0:
        raise ImageError(f"this host's QEMU has no {DEVICE}, and making one that has needs root.")
    run = subprocess.run(
        [str(MKROOT), str(ROOT)], capture_output=True, text=True, timeout=MAKE_SECONDS, check=False
    )
    if run.returncode:
        raise ImageError(f"{MKROOT.name} did not work: {run.stderr.strip().splitlines()[-1:]}")
