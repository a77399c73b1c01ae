"""wirebay serve: run ports and hubs by hand, for several guests, until told to stop."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wirebay.cli.control import add_control_option, control_path, controlled
from wirebay.cli.loop import run_loop, until_stopped
from wirebay.cli.parser import Parser
from wirebay.cli.ready import check_ready_fd, report_ready
from wirebay.errors import OptionError
from wirebay.options.chardev import parse_chardev
from wirebay.options.help import help_for
from wirebay.options.netdev import parse_netdev
from wirebay.options.objects import FilterOptions, parse_object
from wirebay.options.types import HubportOptions, Netdev, StreamOptions, SwitchportOptions
from wirebay.ports.sockets import check

if TYPE_CHECKING:
    from wirebay.network import Network

# Places on segments for other ports: added last.
PLACES = (HubportOptions, SwitchportOptions)

DESCRIPTION = """\
Run the given ports and hubs until SIGINT or SIGTERM.

Ports are given as QEMU's -netdev takes them, in any order. With hubport or switchport, each port is on
the hub or switch that it is plugged into; without any, all ports are joined on one hub."""

EXAMPLE = """\
example: two guests on one user network
  wirebay serve -netdev user,id=u0 \\
      -netdev stream,id=vm0,server=on,addr.type=unix,addr.path=vm0.sock \\
      -netdev stream,id=vm1,server=on,addr.type=unix,addr.path=vm1.sock
  qemu-system-x86_64 -netdev stream,id=n0,addr.type=unix,addr.path=vm0.sock -device e1000,netdev=n0 ..."""


def run(argv: list[str]) -> int:
    """The command. Returns its exit status; raises OptionError for wrong usage, WirebayError at run time."""
    arguments = make_parser().parse_args(argv)
    for text in arguments.netdev:
        if (page := help_for(text)) is not None:
            print(page)
            return 0
    netdevs = plan([parse_netdev(text) for text in arguments.netdev])
    filters = plan_filters(arguments.object, arguments.chardev, netdevs)
    control = control_path(arguments.control, arguments.qmp)
    check_ready_fd(arguments.ready_fd)
    logging.basicConfig(level=logging.INFO, format="wirebay: %(message)s")
    return run_loop(serve(netdevs, arguments.ready_fd, control, filters))


def make_parser() -> Parser:
    """The parser of the command's arguments."""
    parser = Parser(
        "serve",
        usage="-netdev TYPE,id=ID[,OPTION=VALUE...] [-netdev ...] [-object ...] [--control PATH] ...",
        description=DESCRIPTION,
        epilog=EXAMPLE,
    )
    parser.add_argument(
        "-netdev",
        "--netdev",
        action="append",
        required=True,
        metavar="TYPE,...",
        help="a port, as QEMU's -netdev ('help' lists the types, 'TYPE,help' the options); may be repeated",
    )
    parser.add_argument(
        "-object",
        "--object",
        action="append",
        default=[],
        metavar="TYPE,...",
        help="a filter on a port, as QEMU's -object: filter-dump, filter-mirror and others",
    )
    parser.add_argument(
        "-chardev",
        "--chardev",
        action="append",
        default=[],
        metavar="socket,...",
        help="a connection for filters, as QEMU's -chardev",
    )
    add_control_option(parser)
    parser.add_argument(
        "-qmp",
        "--qmp",
        metavar="unix:PATH,server=on,wait=off",
        help="the same socket as QEMU spells it",
    )
    parser.add_argument(
        "--ready-fd",
        type=int,
        metavar="N",
        help='write "1" to descriptor N when all ports are up',
    )
    return parser


def plan(netdevs: Sequence[Netdev]) -> list[Netdev]:
    """The order to add the ports in, places on segments last. Raises OptionError where they contradict."""
    plugged: dict[str, str] = {}
    known: set[str] = set()
    for netdev in netdevs:
        if netdev.id in known:
            raise OptionError(f"Duplicate ID '{netdev.id}' for netdev")
        known.add(netdev.id)
        if isinstance(netdev, StreamOptions):
            check(netdev.addr)
    places = [netdev for netdev in netdevs if isinstance(netdev, PLACES)]
    for place in places:
        if place.netdev is None:
            continue
        if place.netdev not in known:
            raise OptionError(f"netdev '{place.netdev}' not found")
        if place.netdev in plugged:
            raise OptionError(f"netdev '{place.netdev}' is already on {plugged[place.netdev]}")
        kind = "hubport" if isinstance(place, HubportOptions) else "switchport"
        plugged[place.netdev] = f"{kind} '{place.id}'"
    return [*(netdev for netdev in netdevs if not isinstance(netdev, PLACES)), *places]


@dataclass(frozen=True, slots=True)
class Filters:
    """The filters of `-object`, and the chardevs they use as they were written."""

    objects: tuple[FilterOptions, ...]
    chardevs: tuple[str, ...]


def plan_filters(objects: Sequence[str], chardevs: Sequence[str], netdevs: Sequence[Netdev]) -> Filters:
    """Read `-object` and `-chardev`. Raises OptionError, also for a filter on a port that there is not."""
    names = {netdev.id for netdev in netdevs if not isinstance(netdev, PLACES)}
    known = [parse_chardev(text).id for text in chardevs]
    for name in known:
        if known.count(name) > 1:
            raise OptionError(f"Duplicate ID '{name}' for chardev")
    options = tuple(map(parse_object, objects))
    idents = [one.id for one in options]
    for one in options:
        if idents.count(one.id) > 1:
            raise OptionError(f"Duplicate ID '{one.id}' for object")
        if one.netdev not in names:
            raise OptionError("Parameter 'netdev' expects a network backend id")
    return Filters(options, tuple(chardevs))


async def serve(
    netdevs: Sequence[Netdev],
    ready_fd: int | None,
    control: str | None = None,
    filters: Filters | None = None,
) -> int:
    """Run the network until a signal says stop; returns the exit status. Raises WirebayError."""
    from wirebay.network import Network

    async with Network() as network:
        await build(network, netdevs)
        for chardev in filters.chardevs if filters else ():
            await network.add_chardev(chardev)
        for options in filters.objects if filters else ():
            await network.add_object(options)
        for port in network.ports.values():
            print(port.describe(), file=sys.stderr, flush=True)
        async with controlled(network, control):
            report_ready(ready_fd)
            await until_stopped(network, ends=ended(network))
    return 0


def ended(network: Network) -> list[asyncio.Future[str]]:
    """What also ends the command: whoever holds the other side of a `stdio` port has gone."""
    from wirebay.ports.framed import StdioPort

    return [port.ended for port in network.ports.values() if isinstance(port, StdioPort)]


async def build(network: Network, netdevs: Sequence[Netdev]) -> None:
    """Add the ports, and join them all when no hubport or switchport says how."""
    ports = [await network.add(netdev) for netdev in netdevs]
    if not any(isinstance(netdev, PLACES) for netdev in netdevs):
        await network.join(*ports)
        return
    for port in ports:
        if port.kind not in ("hubport", "switchport") and port.hub is None:
            print(f"warning: netdev {port.id} has no peer", file=sys.stderr)
