"""The archive a Linux kernel unpacks as its first root: cpio in the "newc" format.

Source: Documentation/driver-api/early-userspace/buffer-format.rst of the Linux kernel.
Written here because a guest image must be buildable without root and without the cpio program.
"""

from __future__ import annotations

import gzip
import stat
from collections.abc import Iterable
from dataclasses import dataclass

TRAILER = "TRAILER!!!"


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One archive member: `mode` is the whole st_mode, `data` the content or a symbolic link's target."""

    name: str
    mode: int
    data: bytes = b""


def directory(name: str) -> Entry:
    """A directory everyone may enter."""
    return Entry(name=name, mode=stat.S_IFDIR | 0o755)


def file(name: str, data: bytes, *, executable: bool = False) -> Entry:
    """A plain file owned by root."""
    return Entry(name=name, mode=stat.S_IFREG | (0o755 if executable else 0o644), data=data)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def _member(inode: int, entry: Entry) -> bytes:
    name = entry.name.encode() + b"\0"
    links = 2 if stat.S_ISDIR(entry.mode) else 1
    # inode, mode, uid, gid, links, mtime, size, device (2), special device (2), name's length, checksum
    fields = (inode, entry.mode, 0, 0, links, 0, len(entry.data), 0, 0, 0, 0, len(name), 0)
    header = b"070701" + "".join(f"{field:08x}" for field in fields).encode()
    return _padded(header + name) + _padded(entry.data)


def archive(entries: Iterable[Entry]) -> bytes:
    """The uncompressed archive, trailer included; the same entries give the same bytes."""
    members = [*entries, Entry(name=TRAILER, mode=0)]
    return b"".join(_member(inode, entry) for inode, entry in enumerate(members, start=1))


def compressed(entries: Iterable[Entry]) -> bytes:
    """The archive in gzip's fastest level: the guest unpacks it under software emulation."""
    return gzip.compress(archive(entries), compresslevel=1, mtime=0)
