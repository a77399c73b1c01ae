"""The test guest's kernel and first root, made once and kept in .cache/guest."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.guests import cpio, modules
from tests.guests.packages import Apt, ImageError

HERE = Path(__file__).parent
CACHE = HERE.parents[1] / ".cache" / "guest"
# Loaded in this order; what one needs comes before it. Last, how the guest reads its script.
DRIVERS = (
    "virtio_pci", "virtio_net", "e1000", "e1000e", "igb", "8139cp", "8139too",
    "ne2k-pci", "pcnet32", "vmxnet3", "tulip", "e100", "af_packet", "qemu_fw_cfg",
)  # fmt: skip
FOLDERS = ("bin", "dev", "etc", "modules", "proc", "sys", "tmp")


@dataclass(frozen=True, kw_only=True, slots=True)
class Image:
    """Files QEMU boots directly, and the kernel's package name."""

    kernel: Path
    initramfs: Path
    package: str


def recipe() -> str:
    """Changes whenever the image would: a digest of everything the project puts into it."""
    sources = (HERE / name for name in ("init.sh", "lease.sh", "cpio.py", "modules.py", "image.py"))
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in sources)).hexdigest()[:16]


def initramfs(busybox: bytes, drivers: dict[str, bytes]) -> bytes:
    """The guest's first root: busybox, the drivers and their order, and the two scripts."""
    entries = [cpio.directory(folder) for folder in FOLDERS]
    entries += [
        cpio.file("init", (HERE / "init.sh").read_bytes(), executable=True),
        cpio.file("bin/lease.sh", (HERE / "lease.sh").read_bytes(), executable=True),
        cpio.file("bin/busybox", busybox, executable=True),
        cpio.file("modules/order", "".join(f"{name}\n" for name in drivers).encode()),
    ]
    entries += [cpio.file(f"modules/{name}.ko", data) for name, data in drivers.items()]
    return cpio.compressed(entries)


def ensure(cache: Path = CACHE) -> Image:
    """The image, built now if the cache has none of this recipe. Raises ImageError with one sentence."""
    cache.mkdir(parents=True, exist_ok=True)
    final = cache / recipe()
    with _locked(cache / "lock"):
        if not final.is_dir():
            _build(cache, final)
    return Image(
        kernel=final / "vmlinuz",
        initramfs=final / "initramfs.img",
        package=(final / "package").read_text().strip(),
    )


def _build(cache: Path, final: Path) -> None:
    apt = Apt(cache)
    package = apt.kernel_package()
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        root, done = Path(folder, "root"), Path(folder, "done")
        done.mkdir()
        for name in (package, "busybox-static"):
            apt.unpack(name, root)
        shutil.copyfile(_only(root, "boot/vmlinuz-*"), done / "vmlinuz")
        busybox = _only(root, "**/bin/busybox").read_bytes()
        (done / "initramfs.img").write_bytes(initramfs(busybox, modules.in_order(root, DRIVERS)))
        (done / "package").write_text(package)
        done.rename(final)


def _only(root: Path, pattern: str) -> Path:
    found = sorted(root.glob(pattern))
    if not found:
        raise ImageError(f"The Debian packages hold no file like {pattern}.")
    return found[0]


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    try:
        print(f"Test guest: {ensure().package}")
    except ImageError as error:
        sys.exit(str(error))
