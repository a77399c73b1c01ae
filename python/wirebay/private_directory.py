"""Directories for a run's own files that are gone afterwards, even if the process is killed.

A directory made here holds a file, `.wirebay`, which its process keeps locked (flock(2)) for as long as it
lives. Who makes a directory first looks for others beside it whose file nobody has locked: their processes
were killed, and they are removed. What has no such file, or is somebody else's, is left alone whatever its
name is.

A directory may be taken for one of the dead in the moment between the making of its file and the lock on it.
So its maker looks, once it has the lock, whether the file is still there, and otherwise starts again.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
from pathlib import Path
from typing import Self

__all__ = ["PrivateDirectory"]

PREFIX = "wirebay-"
MARK = ".wirebay"


class PrivateDirectory:
    """A new directory, of mode 0700, in `base` (the system's place for temporary files by default).

    `path` is where it is. A context manager; `close` removes it. Raises OSError when none can be made.
    """

    def __init__(self, base: str | None = None) -> None:
        folder = Path(base or tempfile.gettempdir())
        remove_stale(folder)
        while True:
            self.path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=folder))
            lock = take_lock(self.path, os.O_CREAT | os.O_EXCL)
            if lock is not None:
                self._lock = lock
                return

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove the directory and what is in it; does nothing the second time."""
        shutil.rmtree(self.path, ignore_errors=True)
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def remove_stale(folder: Path) -> None:
    """Remove those directories in `folder` that killed processes of this user have left."""
    with contextlib.suppress(OSError):
        for entry in list(os.scandir(folder)):
            if entry.name.startswith(PREFIX) and entry.is_dir(follow_symlinks=False):
                _remove_if_stale(Path(entry.path))


def _remove_if_stale(path: Path) -> None:
    lock = None
    with contextlib.suppress(OSError):  # no mark, or its process lives
        lock = take_lock(path, 0, fcntl.LOCK_NB)
    if lock is not None:
        shutil.rmtree(path, ignore_errors=True)
        os.close(lock)


def take_lock(path: Path, flags: int, how: int = 0) -> int | None:
    """A descriptor that has the lock on the mark of the directory `path`; None when that is gone by then.

    Raises OSError where there is none, it is not ours, or somebody else has the lock and `how` is LOCK_NB.
    """
    mark = path / MARK
    try:
        lock = os.open(mark, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | flags, 0o600)
    except FileNotFoundError:
        return None
    try:
        status = os.fstat(lock)
        if status.st_uid != os.geteuid() or not stat.S_ISREG(status.st_mode):
            raise PermissionError(f"{mark} is somebody else's")
        fcntl.flock(lock, fcntl.LOCK_EX | how)
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(mark.lstat(), status):
                return lock
    except OSError:
        os.close(lock)
        raise
    os.close(lock)
    return None
