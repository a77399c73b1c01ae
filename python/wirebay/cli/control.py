"""--control and -qmp: the socket over which a command can be controlled while it runs."""

from __future__ import annotations

import contextlib
import os
import signal
import warnings
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wirebay.errors import OptionError
from wirebay.options.grammar import OptionWarning, last, parse_pairs
from wirebay.options.types import UnixAddr

if TYPE_CHECKING:
    import argparse

    from wirebay.cli.parser import Parser
    from wirebay.control.place import Place
    from wirebay.control.table import Process
    from wirebay.network import Network

__all__ = ["Doors", "Running", "add_api_option", "add_control_option", "check_api", "check_control"]
__all__ += ["control_path", "controlled"]

WANTED = "unix:PATH,server=on,wait=off"


def add_control_option(parser: Parser) -> None:
    """The option `--control`."""
    parser.add_argument(
        "--control", metavar="PATH", help="listen on this unix socket for 'wirebay ctl' and QMP clients"
    )


def add_api_option(parser: Parser) -> None:
    """The option `--api-socket`."""
    parser.add_argument(
        "--api-socket", metavar="PATH", help="listen on this unix socket for slirp4netns' API commands"
    )


def check_control(path: str | None) -> str | None:
    """The path, if it can be one. Raises OptionError."""
    return check_path(path, "--control")


def check_api(path: str | None) -> str | None:
    """The same for --api-socket."""
    return check_path(path, "--api-socket")


def check_path(path: str | None, option: str) -> str | None:
    """The path, if it can be that of a socket. Raises OptionError."""
    if path == "":
        raise OptionError(f"{option} expects a path")
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


class Running:
    """A command that runs, as its control sees it."""

    def quit(self) -> None:
        """End as SIGTERM does."""
        os.kill(os.getpid(), signal.SIGTERM)

    async def reload(self) -> dict[str, Any]:
        """There is nothing to read again."""
        raise OptionError("there is no file to read again; 'wirebay serve --config FILE' has one")


@dataclass(frozen=True, slots=True)
class Doors:
    """Where a command can be controlled while it runs: for QMP, and for slirp4netns' commands."""

    control: Place | None = None
    api: Place | None = None

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> Doors:
        """Those that the arguments give. Raises OptionError."""
        return cls(check_control(arguments.control), check_api(arguments.api_socket))

    @contextlib.asynccontextmanager
    async def open(self, network: Network, process: Process | None = None) -> AsyncIterator[None]:
        """Inside the context they are open. Raises HostError."""
        async with controlled(network, self.control, process):
            if self.api is None:
                yield
                return
            from wirebay.control.slirp import slirp_api

            async with slirp_api(network, self.api):
                yield


@contextlib.asynccontextmanager
async def controlled(
    network: Network, path: Place | None, process: Process | None = None
) -> AsyncIterator[None]:
    """Inside the context the network can be controlled at `path`, if there is one. Raises HostError."""
    if path is None:
        yield
        return
    from wirebay.control.server import controlled as serving

    async with serving(network, path, process or Running()):
        yield
