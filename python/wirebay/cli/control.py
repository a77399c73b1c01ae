"""--control and -qmp: the socket over which a command can be controlled while it runs."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from wirebay.errors import OptionError
from wirebay.options.grammar import OptionWarning, last, parse_pairs
from wirebay.options.types import UnixAddr

if TYPE_CHECKING:
    from wirebay.cli.parser import Parser
    from wirebay.network import Network

__all__ = ["add_control_option", "check_control", "control_path", "controlled"]

WANTED = "unix:PATH,server=on,wait=off"


def add_control_option(parser: Parser) -> None:
    """The option `--control`."""
    parser.add_argument(
        "--control", metavar="PATH", help="listen on this unix socket for 'wirebay ctl' and QMP clients"
    )


def check_control(path: str | None) -> str | None:
    """The path, if it can be one. Raises OptionError."""
    if path == "":
        raise OptionError("--control expects a path")
    if path is not None:
        from wirebay.ports.sockets import check  # here: most runs have no socket

        check(UnixAddr(path=path))
    return path


def control_path(control: str | None, qmp: str | None) -> str | None:
    """The path that --control or QEMU's -qmp gives. Raises OptionError."""
    if qmp is None:
        return check_control(control)
    if control is not None:
        raise OptionError("give --control or -qmp, not both: they mean the same socket")
    return check_control(parse_qmp(qmp))


def parse_qmp(text: str) -> str:
    """The path in `unix:PATH,server=on,wait=off`, also in its older spelling `unix:PATH,server,nowait`.

    Raises OptionError for anything else that QEMU takes: another socket, a client, one who waits.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OptionWarning)
        pairs = parse_pairs(text)
    scheme, colon, path = (last(pairs, "type") or "").partition(":")
    for name, _ in pairs:
        if name not in ("type", "server", "wait"):
            raise OptionError(f"-qmp {text}: Invalid parameter '{name}'")
    if scheme != "unix" or not colon or not path:
        raise OptionError(f"-qmp {text}: only unix sockets are served; give {WANTED}")
    if last(pairs, "server") not in ("on", "yes", "true", "y"):
        raise OptionError(f"-qmp {text}: wirebay is the server; give {WANTED}")
    if last(pairs, "wait") not in ("off", "no", "false", "n"):
        raise OptionError(f"-qmp {text}: wirebay does not wait for a client; give {WANTED}")
    return path


@contextlib.asynccontextmanager
async def controlled(network: Network, path: str | None) -> AsyncIterator[None]:
    """Inside the context the network can be controlled at `path`, if there is one. Raises HostError."""
    if path is None:
        yield
        return
    from wirebay.control.server import controlled as serving

    async with serving(network, path):
        yield
