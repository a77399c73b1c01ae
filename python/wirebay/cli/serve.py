"""wirebay serve: run ports and hubs by hand, for several guests, until told to stop."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from wirebay.cli.control import add_api_option, add_control_option, check_api, control_path
from wirebay.cli.logs import LEVELS, start_log
from wirebay.cli.loop import run_loop
from wirebay.cli.parser import Parser
from wirebay.cli.ready import check_ready_fd
from wirebay.errors import OptionError
from wirebay.options.netdev import parse_netdev
from wirebay.wiring import contradictions

if TYPE_CHECKING:
    import argparse

    from wirebay.options.types import Netdev

DESCRIPTION = """\
Run the given ports and hubs until SIGINT or SIGTERM. With --config, SIGHUP reads the file again.

Ports are given as QEMU's -netdev takes them, in any order. With hubport, each port is on the hub that a
hubport plugs it into; without any hubport, all ports are joined on one hub."""

EXAMPLE = """\
example: two guests on one user network
  wirebay serve -netdev user,id=u0 \\
      -netdev stream,id=vm0,server=on,addr.type=unix,addr.path=vm0.sock \\
      -netdev stream,id=vm1,server=on,addr.type=unix,addr.path=vm1.sock
  qemu-system-x86_64 -netdev stream,id=n0,addr.type=unix,addr.path=vm0.sock -device e1000,netdev=n0 ..."""


def run(argv: list[str]) -> int:
    """The command. Returns its exit status; raises OptionError for wrong usage, WirebayError at run time."""
    arguments = make_parser().parse_args(argv)
    if arguments.schema:
        print_schema()
        return 0
    if not arguments.netdev and arguments.config is None:
        raise OptionError("give -netdev or --config: there is nothing to serve")
    netdevs = [parse_netdev(text) for text in arguments.netdev]
    check(netdevs)
    arguments.control = control_path(arguments.control, arguments.qmp)
    check_api(arguments.api_socket)
    check_ready_fd(arguments.ready_fd)
    return start(arguments, netdevs)


def start(arguments: argparse.Namespace, netdevs: Sequence[Netdev]) -> int:
    """Serve what the arguments and the file describe, until told to stop."""
    from wirebay.cli.activation import check_names, listeners_of_manager
    from wirebay.cli.daemon import Daemon, Source

    source = Source(arguments, netdevs)
    start_log(source.config.settings.log_level)
    with listeners_of_manager() as listeners:
        check_names(listeners, source.names())
        return run_loop(Daemon(source, listeners).serve(arguments.ready_fd))


def check(netdevs: Sequence[Netdev]) -> None:
    """Raise OptionError where the ports contradict each other."""
    for _, sentence in contradictions(netdevs):
        raise OptionError(sentence)


def print_schema() -> None:
    """Print the JSON Schema of the file that --config takes."""
    from wirebay.config.schema import schema

    print(json.dumps(schema(), indent=2))


def make_parser() -> Parser:
    """The parser of the command's arguments."""
    parser = Parser(
        "serve",
        usage="[-netdev TYPE,id=ID[,OPTION=VALUE...] ...] [--config FILE] [OPTIONS]",
        description=DESCRIPTION,
        epilog=EXAMPLE,
    )
    parser.add_argument(
        "-netdev",
        "--netdev",
        action="append",
        default=[],
        metavar="TYPE,...",
        help="a port, as QEMU's -netdev: user, stream, tap or hubport; may be repeated",
    )
    add_file_options(parser)
    add_control_option(parser)
    parser.add_argument(
        "-qmp",
        "--qmp",
        metavar="unix:PATH,server=on,wait=off",
        help="the same socket as QEMU spells it",
    )
    add_api_option(parser)
    add_daemon_options(parser)
    return parser


def add_file_options(parser: Parser) -> None:
    """The options about the file."""
    parser.add_argument("--config", metavar="FILE", help="ports and options from this TOML file")
    parser.add_argument("--schema", action="store_true", help="print the file's JSON Schema, and exit")


def add_daemon_options(parser: Parser) -> None:
    """The options of a process that others watch over."""
    parser.add_argument(
        "--pid-file", metavar="PATH", help="write the process number to this file, and lock it"
    )
    parser.add_argument("--log-level", choices=LEVELS, help="log this and what is worse (default: info)")
    parser.add_argument(
        "--ready-fd", type=int, metavar="N", help='write "1" to descriptor N when all ports are up'
    )
