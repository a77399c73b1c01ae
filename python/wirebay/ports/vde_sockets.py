"""What both sides of VDE do with their sockets: whom they are for, and noticing the end."""

from __future__ import annotations

import grp
import os
import socket
from pathlib import Path

from wirebay.errors import HostError
from wirebay.options.link_types import VdeOptions
from wirebay.waiting import readable


def give_away(path: Path, options: VdeOptions) -> None:
    """Let the group and mode of the options have the socket. Raises HostError."""
    try:
        path.chmod(options.mode)
        if options.group is not None:
            os.chown(path, -1, group_id(options.group))
    except OSError as error:
        raise HostError(f"group= or mode= of vde: {error.strerror} ({path})") from error


def group_id(group: str | None) -> int:
    """The number of a group; -1 for none. Raises HostError when there is no such group."""
    if group is None:
        return -1
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        raise HostError(f"group={group}: there is no such group") from None


async def until_end(control: socket.socket) -> None:
    """Wait until the other side closes a connection on which it has nothing to say."""
    while True:
        await readable(control.fileno())
        try:
            if not control.recv(4096):
                return
        except BlockingIOError:
            continue
        except OSError:
            return
