"""Files below a directory that cannot be left, and how they are read for TFTP.

A name is walked component by component, each opened in the directory before it and never through a symbolic
link. A link is read and its target walked in turn, from the directory that the link is in; `..` in a target
goes back to the directory we came through, whose descriptor is still open, so no rename meanwhile can lead
elsewhere. What would go above the top, or is absolute, is refused, as openat2(2) does with RESOLVE_BENEATH,
which Python does not have.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from types import TracebackType
from typing import Self

__all__ = ["Source", "open_beneath"]

MAX_LINKS = 40  # the kernel's own limit, path_resolution(7)
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CHUNK = 65536


def open_beneath(top: str, name: bytes) -> int:
    """A descriptor, for reading, of the regular file `name` below the directory `top`.

    Slashes at the start of `name` do not count. Raises PermissionError for a name with `..`, and for one that
    leads out; OSError as open(2) does; IsADirectoryError for what is no regular file.
    """
    parts = [part for part in name.split(b"/") if part not in (b"", b".")]
    if b".." in parts:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    with _Walk(top) as walk:
        return walk.open(parts)


class _Walk:
    """The directories from the top to where the walk is, as open descriptors."""

    def __init__(self, top: str) -> None:
        self._path = [os.open(top, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)]
        self._links = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._path:
            os.close(self._path.pop())

    def open(self, parts: list[bytes]) -> int:
        """Open the file at the end of `parts`."""
        waiting = parts[::-1]
        while waiting:
            part = waiting.pop()
            target = self._link(part)
            if target is not None:
                waiting += target[::-1]
            elif part == b"..":
                self._leave()
            elif waiting:
                self._path.append(os.open(part, _DIRECTORY, dir_fd=self._path[-1]))
            else:
                return _regular(os.open(part, _READ, dir_fd=self._path[-1]))
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))

    def _link(self, part: bytes) -> list[bytes] | None:
        """The parts of the target, if `part` is a symbolic link."""
        try:
            target = os.readlink(part, dir_fd=self._path[-1])
        except OSError as error:
            if error.errno == errno.EINVAL:  # something else than a link
                return None
            raise
        self._links += 1
        if self._links > MAX_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        if target.startswith(b"/"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return [part for part in target.split(b"/") if part not in (b"", b".")]

    def _leave(self) -> None:
        if len(self._path) == 1:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        os.close(self._path.pop())


def _regular(fd: int) -> int:
    if stat.S_ISREG(os.fstat(fd).st_mode):
        return fd
    os.close(fd)
    raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))


class Source:
    """What a transfer sends: the file's bytes, or their netascii form (RFC 764: LF as CR LF, CR as CR NUL).

    `size` is in bytes of the transfer; None for netascii, where only reading it all would tell.
    """

    def __init__(self, fd: int, *, netascii: bool = False) -> None:
        """Takes over `fd`; `close()` closes it."""
        self._fd = fd
        self._more: Callable[[int], bytes] = self._netascii if netascii else self._octets
        self._ready = bytearray()
        self.size = None if netascii else os.fstat(fd).st_size

    def read(self, size: int) -> bytes:
        """The next `size` bytes, fewer only at the end. Raises OSError."""
        while len(self._ready) < size and (more := self._more(max(size - len(self._ready), 1))):
            self._ready += more
        block = bytes(self._ready[:size])
        del self._ready[:size]
        return block

    def close(self) -> None:
        """Close the file; does nothing the second time."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _octets(self, size: int) -> bytes:
        return os.read(self._fd, size)

    def _netascii(self, size: int) -> bytes:
        text = os.read(self._fd, min(size, _CHUNK))
        return text.replace(b"\r", b"\r\0").replace(b"\n", b"\r\n")
