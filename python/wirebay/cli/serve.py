"""wirebay serve: run ports and hubs by hand, for several guests, until told to stop."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from wirebay.cli.control import add_api_option, add_control_option, check_api, control_path
from wirebay.cli.logs import LEVELS, start_log
from wirebay.cli.loop import run_loop
from wirebay.cli.parser import Parser
from wirebay.cli.ready import check_ready_fd
from wirebay.errors import OptionError
from wirebay.options.chardev import parse_chardev
from wirebay.options.help import help_for
from wirebay.options.netdev import parse_netdev
from wirebay.options.objects import parse_object
from wirebay.wiring import Description, contradictions

if TYPE_CHECKING:
    import argparse

DESCRIPTION = """\
Run the given ports and hubs until SIGINT or SIGTERM. With --config, SIGHUP reads the file again.

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
    if arguments.schema:
        print_schema()
        return 0
    if not arguments.netdev and arguments.config is None:
        raise OptionError("give -netdev or --config: there is nothing to serve")
    for text in arguments.netdev:
        if (page := help_for(text)) is not None:
            print(page)
            return 0
    whole = describe(arguments)
    arguments.control = control_path(arguments.control, arguments.qmp)
    check_api(arguments.api_socket)
    check_ready_fd(arguments.ready_fd)
    return start(arguments, whole)


def start(arguments: argparse.Namespace, whole: Description) -> int:
    """Serve what the arguments and the file describe, until told to stop."""
    from wirebay.cli.activation import check_names, listeners_of_manager
    from wirebay.cli.daemon import Daemon, Source

    source = Source(arguments, whole)
    start_log(source.config.settings.log_level)
    with listeners_of_manager() as listeners:
        check_names(listeners, source.names())
        return run_loop(Daemon(source, listeners).serve(arguments.ready_fd))


def describe(arguments: argparse.Namespace) -> Description:
    """What the arguments alone describe. Raises OptionError, also where it contradicts itself."""
    whole = Description(
        netdevs=tuple(map(parse_netdev, arguments.netdev)),
        chardevs=tuple(map(parse_chardev, arguments.chardev)),
        objects=tuple(map(parse_object, arguments.object)),
    )
    if arguments.config is None:  # what is missing may be in the file
        for _, sentence in contradictions(whole):
            raise OptionError(sentence)
    return whole


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
