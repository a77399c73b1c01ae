"""guestfwd over TCP: servers in the guests' network that are a program, a socket or a server of this host.

Each connection of a guest gets a connection of its own, or a program of its own as QEMU forks one. A socket
or server is connected to by Python and then belongs to the worker, so no byte passes through here."""

from __future__ import annotations

import shlex
import socket

from wirebay.errors import OptionError
from wirebay.options.types import CommandTarget, GuestForward, InetAddr, InetTarget, UnixAddr
from wirebay.ports.sockets import connect
from wirebay.services.programs import Programs
from wirebay.services.tcp import Client, Connect

__all__ = ["MAX_PROGRAMS", "connector"]

MAX_PROGRAMS = 64  # of all rules of one network


def connector(rule: GuestForward, programs: Programs) -> Connect:
    """What makes the far end of a connection to the rule's server. Raises OptionError for no command."""
    target = rule.target
    if isinstance(target, CommandTarget):
        return _runner(words(target.command, rule), programs)
    if isinstance(target, InetTarget):
        return _reacher(InetAddr(host=target.host, port=str(target.port)))
    return _reacher(UnixAddr(path=target.path))


def words(command: str, rule: GuestForward) -> list[str]:
    """The command as a shell would split it; QEMU runs no shell either. Raises OptionError."""
    try:
        found = shlex.split(command)
    except ValueError:  # a quotation mark that does not close
        found = []
    if not found:
        raise OptionError(f"Invalid guest forwarding rule '{rule.text}'")
    return found


def _runner(command: list[str], programs: Programs) -> Connect:
    async def run(_: Client) -> socket.socket:
        return programs.start(command)

    return run


def _reacher(address: InetAddr | UnixAddr) -> Connect:
    async def reach(_: Client) -> socket.socket:
        return await connect(address)

    return reach
