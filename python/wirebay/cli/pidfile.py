"""--pid-file: the process's number in a file, which is locked as long as the process runs."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from wirebay.errors import HostError
from wirebay.ports.sockets import identity, unlink_if

__all__ = ["pid_file"]

BUSY = (errno.EACCES, errno.EAGAIN)


@contextlib.contextmanager
def pid_file(path: str | None) -> Iterator[None]:
    """Inside the context the file, if one is wanted, has our number; then it is removed.

    One that a dead process left is taken over: its lock died with it. Raises HostError when another process
    has it, or it cannot be written.
    """
    if path is None:
        yield
        return
    place = Path(path).absolute()
    fd = claim(path, place)
    try:
        yield
    finally:
        unlink_if(place, identity_of(fd))
        os.close(fd)


def claim(path: str, place: Path) -> int:
    """The open, locked file with our number in it."""
    fd = -1
    try:
        fd = os.open(place, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if identity(place) != identity_of(fd):  # whoever had it removed it just now
            raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
    except OSError as error:
        if fd >= 0:
            os.close(fd)
        reason = "another process runs with it" if error.errno in BUSY else error.strerror
        raise HostError(f"--pid-file {path}: {reason}") from None
    return fd


def identity_of(fd: int) -> tuple[int, int]:
    """Device and inode of an open file."""
    status = os.fstat(fd)
    return status.st_dev, status.st_ino
