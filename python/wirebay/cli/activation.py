"""Socket activation: listening sockets that systemd opened before us, by name (sd_listen_fds(3))."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Collection, Iterator, Mapping

from wirebay.errors import OptionError

__all__ = ["check_names", "listeners_of_manager"]

FIRST = 3  # SD_LISTEN_FDS_START


@contextlib.contextmanager
def listeners_of_manager() -> Iterator[Mapping[str, socket.socket]]:
    """The sockets by name; the context closes them. Raises OptionError for some that cannot be served.

    The environment variables are taken away: they are not for programs that we start.
    """
    with contextlib.ExitStack() as closing:
        sockets: dict[str, socket.socket] = {}
        for number, name in enumerate(_names()):
            if name in sockets:
                raise OptionError(f"LISTEN_FDNAMES has '{name}' twice: one socket for each name")
            sockets[name] = closing.enter_context(_listener(FIRST + number, name))
        yield sockets


def _names() -> list[str]:
    pid, count, names = (os.environ.pop(f"LISTEN_{word}", "") for word in ("PID", "FDS", "FDNAMES"))
    if pid != str(os.getpid()):
        return []  # meant for another process
    if not (count.isascii() and count.isdigit()):
        raise OptionError(f"LISTEN_FDS is no number: '{count}'")
    given = names.split(":") if names else []
    return [given[number] if number < len(given) else "unknown" for number in range(int(count))]


def _listener(fd: int, name: str) -> socket.socket:
    try:
        os.set_inheritable(fd, False)
        sock = socket.socket(fileno=fd)
    except OSError as error:
        raise OptionError(f"the socket '{name}' of LISTEN_FDS cannot be used: {error.strerror}") from None
    sock.setblocking(False)
    if sock.type != socket.SOCK_STREAM or not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        sock.close()
        raise OptionError(f"the socket '{name}' of LISTEN_FDS is not a listening stream socket")
    return sock


def check_names(names: Collection[str], known: Collection[str]) -> None:
    """Raise OptionError for a socket that nothing here would take."""
    for name in names:
        if name not in known:
            raise OptionError(
                f"the socket '{name}' of LISTEN_FDS is for nothing here: FileDescriptorName= takes "
                f"{', '.join(sorted(known))}"
            )
