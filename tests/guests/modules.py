"""Kernel modules of an unpacked Debian kernel: which files a driver needs, and in which order.

Debian's packages carry no modules.dep (depmod writes it on installation), so the order comes from the
`depends=` string that every module carries in its .modinfo section.
"""

from __future__ import annotations

import lzma
import re
from collections.abc import Iterable
from pathlib import Path

DEPENDS = re.compile(rb"\0depends=([^\0]*)\0")
SUFFIXES = (".ko", ".ko.xz")


def load(path: Path) -> bytes:
    """The module's ELF image, decompressed."""
    data = path.read_bytes()
    return lzma.decompress(data) if path.suffix == ".xz" else data


def name_of(path: Path) -> str:
    """The module's name as the kernel spells it: ne2k-pci.ko.xz is ne2k_pci."""
    return path.name.split(".", 1)[0].replace("-", "_")


def index(root: Path) -> dict[str, Path]:
    """Every module file below `root`, by the kernel's spelling of its name."""
    files = (path for path in root.rglob("*.ko*") if path.name.endswith(SUFFIXES))
    return {name_of(path): path for path in files}


def depends(image: bytes) -> list[str]:
    """The modules this one says it needs, in the kernel's spelling."""
    match = DEPENDS.search(image)
    return [name.replace("-", "_") for name in match[1].decode().split(",") if name] if match else []


def in_order(root: Path, wanted: Iterable[str]) -> dict[str, bytes]:
    """Images of the wanted modules and all they need, each after what it depends on.

    A wanted name without a file is left out: it is built into this kernel, or this kernel has none.
    """
    available = index(root)
    images: dict[str, bytes] = {}

    def visit(name: str) -> None:
        if name in images or name not in available:
            return
        image = load(available[name])
        for needed in depends(image):
            visit(needed)
        images[name] = image

    for name in wanted:
        visit(name.replace("-", "_"))
    return images
