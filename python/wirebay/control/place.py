"""The socket's file: only for its owner, never taken from another process that lives, gone at the end."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
import struct
from collections.abc import Iterator
from pathlib import Path

from wirebay.control.runtime import runtime_directory
from wirebay.errors import HostError
from wirebay.options.types import UnixAddr
from wirebay.ports.sockets import check, identity, unlink_if

__all__ = ["Place", "listening_at", "stranger"]

#: A path, or a socket that listens already: somebody else opened it, and keeps it and its file.
Place = str | socket.socket

BACKLOG = 16
OWNER_ONLY = 0o600
BUSY = "another process listens there"
ROOT = 0  # may look into every process anyway
_CREDENTIALS = struct.Struct("3i")  # struct ucred of unix(7): pid, uid, gid


class PlaceTakenError(Exception):
    """Something is at the place already; the text says what."""


@contextlib.contextmanager
def listening_at(path: Place, option: str = "--control") -> Iterator[socket.socket]:
    """A listening socket at `path`, which is removed afterwards; errors name the option.

    Raises OptionError for a path that is too long, HostError when the place is taken or cannot be had.
    """
    if isinstance(path, socket.socket):
        with path.dup() as listener:
            listener.setblocking(False)
            yield listener
        return
    check(UnixAddr(path=path))
    place = Path(path).absolute()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.setblocking(False)
        try:
            ours = claim(listener, place)
        except OSError as error:
            raise HostError(f"{option} {path}: {error.strerror}") from error
        except PlaceTakenError as error:
            raise HostError(f"{option} {place}: {error}") from None
        try:
            yield listener
        finally:
            unlink_if(place, ours)


def claim(listener: socket.socket, place: Path) -> tuple[int, int] | None:
    """Listen at `place`; returns the identity of the file. Raises PlaceTakenError and OSError."""
    if place.parent == runtime_directory():
        place.parent.mkdir(mode=0o700, exist_ok=True)
    remove_stale(place)
    # The mode of the socket becomes that of its file: there is no moment in which others could connect.
    os.fchmod(listener.fileno(), OWNER_ONLY)
    try:
        listener.bind(str(place))
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PlaceTakenError(BUSY) from None
        raise
    ours = identity(place)
    listener.listen(BACKLOG)
    return ours


def remove_stale(place: Path) -> None:
    """Remove a socket that nobody listens on any more. Raises PlaceTakenError if something is."""
    seen = identity(place)
    if seen is None:
        return
    if not stat.S_ISSOCK(place.lstat().st_mode):
        raise PlaceTakenError("the path exists and is not a socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as visitor:
        visitor.setblocking(False)  # a backlog that is full is a sign of life too
        try:
            visitor.connect(str(place))
        except ConnectionRefusedError:
            unlink_if(place, seen)
        except BlockingIOError:
            raise PlaceTakenError(BUSY) from None
        else:
            raise PlaceTakenError(BUSY)


def stranger(peer: socket.socket) -> str | None:
    """Who the process at the other end is, if it is not to be served; None for the owner and for root.

    The owner's processes in another network namespace are not served either: the command inside `wirebay ns`
    runs as its owner and sees the owner's files, but its network is not its own to change.
    """
    credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, _ = _CREDENTIALS.unpack(credentials)
    if uid != os.geteuid():
        return None if uid == ROOT else f"a process of user {uid}"
    return None if shares_network(pid) else f"process {pid}, which is in another network namespace,"


def shares_network(pid: int) -> bool:
    """Is the process in our network namespace? False also if it has left, or is hidden from us."""
    try:
        return Path(f"/proc/{pid}/ns/net").samefile("/proc/self/ns/net")
    except OSError:
        return False
