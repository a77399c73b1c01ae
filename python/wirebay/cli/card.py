"""wirebay card: a simulated network card for a VMM, over vfio-user."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from wirebay.cli.control import add_control_option, check_control, controlled
from wirebay.cli.loop import run_loop, until_stopped
from wirebay.cli.parser import Parser
from wirebay.cli.ready import check_ready_fd, report_ready
from wirebay.errors import HostError, OptionError
from wirebay.options.card import CardOptions, parse_card
from wirebay.options.netdev import parse_netdev
from wirebay.options.types import HubportOptions, Netdev

if TYPE_CHECKING:
    from argparse import Namespace

    from wirebay.cards.card import Card, Trace

DESCRIPTION = """\
Serve a simulated network card to a virtual machine over vfio-user, until SIGINT or SIGTERM.

'wirebay card help' lists the models, 'wirebay card help MODEL' the registers of one."""

EXAMPLE = """\
example: an NE2000 on a user network, for QEMU 10.1 or newer
  wirebay card ne2k_pci --socket card.sock -netdev user,id=u0
  qemu-system-x86_64 -object memory-backend-memfd,id=m,size=1G,share=on -machine q35,memory-backend=m -m 1G \\
      -nic none -device '{"driver":"vfio-user-pci","socket":{"type":"unix","path":"card.sock"}}' ..."""


def run(argv: list[str]) -> int:
    """The command. Returns its exit status; raises OptionError for wrong usage, WirebayError at run time."""
    if argv[:1] == ["help"]:
        return show(argv[1:])
    from wirebay.cards.models import card_class

    arguments = parse(argv)
    options, netdev = parse_card(arguments.card), parse_netdev(arguments.netdev)
    if isinstance(netdev, HubportOptions):
        raise OptionError("-netdev hubport: a card is joined with one port; name that")
    control = check_control(arguments.control)
    check_ready_fd(arguments.ready_fd)
    logging.basicConfig(level=logging.INFO, format="wirebay: %(message)s")
    kind = card_class(options.model)
    with tracing(options.trace) as trace:
        return run_loop(serve(kind, options, netdev, arguments.socket, trace, control, arguments.ready_fd))


def parse(argv: Sequence[str]) -> Namespace:
    """The command's arguments."""
    return make_parser().parse_args(argv)


def make_parser() -> Parser:
    """What the command line may say."""
    parser = Parser(
        "card",
        usage="MODEL[,mac=MAC][,rom=FILE][,trace=FILE] --socket PATH -netdev TYPE,... [OPTIONS]",
        description=DESCRIPTION,
        epilog=EXAMPLE,
    )
    parser.add_argument("card", metavar="MODEL[,...]", help="the card, as in QEMU's -device")
    parser.add_argument(
        "--socket", required=True, metavar="PATH", help="the unix socket that the VMM connects to"
    )
    parser.add_argument(
        "-netdev",
        "--netdev",
        required=True,
        metavar="TYPE,...",
        help="what the card's cable leads to, as QEMU's -netdev",
    )
    add_control_option(parser)
    parser.add_argument(
        "--ready-fd", type=int, metavar="N", help='write "1" to descriptor N when the card can be used'
    )
    return parser


def show(words: Sequence[str]) -> int:
    """`wirebay card help [MODEL]`. Raises OptionError."""
    from wirebay.cards.models import registers, table

    if len(words) > 1:
        raise OptionError("'wirebay card help' takes one model")
    print(registers(words[0]) if words else table())
    return 0


@contextmanager
def tracing(path: str | None) -> Iterator[Trace | None]:
    """Where the trace goes: a function for its lines. Raises HostError."""
    if path is None:
        yield None
    elif path == "-":
        yield lambda line: print(line, file=sys.stderr)
    else:
        with trace_file(path) as file:
            yield lambda line: print(line, file=file)


def trace_file(path: str) -> TextIO:
    """The file, written line by line. Raises HostError."""
    try:
        return Path(path).open("w", buffering=1)
    except OSError as error:
        raise HostError(f"trace={path}: the file cannot be written: {error.strerror}") from error


async def serve(
    kind: type[Card],
    options: CardOptions,
    netdev: Netdev,
    path: str,
    trace: Trace | None,
    control: str | None,
    ready_fd: int | None,
) -> int:
    """Serve the card until a signal says stop; returns the exit status. Raises WirebayError."""
    from wirebay.cards.rom import read_rom
    from wirebay.cards.server import served
    from wirebay.network import Network

    rom = read_rom(options.rom, kind.identity) if options.rom else b""
    async with Network() as network:
        port = await network.add(netdev)
        async with served(network, port, kind, options.mac, path, rom) as card, controlled(network, control):
            card.trace = trace
            print(f"{kind.title}: on {path}", file=sys.stderr, flush=True)
            report_ready(ready_fd)
            await until_stopped(network)
    return 0
