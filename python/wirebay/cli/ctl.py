"""wirebay ctl: ask a wirebay that runs, and change it, over its control socket."""

from __future__ import annotations

import argparse
import os
import socket
from pathlib import Path

from wirebay.cli.ctl_act import HMP, MONITOR, PING, QMP
from wirebay.cli.ctl_change import ADD, LINK, MOVE, QUIT, RELOAD, REMOVE
from wirebay.cli.ctl_flows import FLOWS
from wirebay.cli.ctl_read import FORWARDS, LEASES, PORTS, STATS, STATUS
from wirebay.cli.ctl_verb import Verb
from wirebay.cli.parser import Parser
from wirebay.control.client import Client
from wirebay.control.runtime import runtime_directory
from wirebay.errors import OptionError

ENVIRONMENT = "WIREBAY_CONTROL"

VERBS: dict[str, Verb] = {
    verb.name: verb
    for verb in (
        *(STATUS, PORTS, ADD, REMOVE, MOVE, LINK, FLOWS, FORWARDS, LEASES, STATS),
        *(PING, MONITOR, RELOAD, QUIT, HMP, QMP),
    )
}

COMPLETION = "completion"  # which needs nobody to talk to
LISTED = ", ".join((*VERBS, COMPLETION))
USAGE = "[--socket PATH] COMMAND [ARGUMENT...]"

DESCRIPTION = """\
Talk to a wirebay that runs with --control PATH. It is found by --socket, else by the environment variable
WIREBAY_CONTROL, else it is the only one whose socket is $XDG_RUNTIME_DIR/wirebay/NAME.sock.

commands:
""" + "\n".join(
    [f"  {verb.name:<11}{verb.purpose}" for verb in VERBS.values()]
    + [f"  {COMPLETION:<11}print the completion of all commands for a shell"]
)

EXAMPLES = """\
examples:
  wirebay serve -netdev user,id=u0 -netdev ... --control lab.sock &
  wirebay ctl --socket lab.sock status
  wirebay ctl --socket lab.sock forwards add tcp:127.0.0.1:8080-:80
  wirebay ctl --socket lab.sock ping u0
  wirebay ctl --socket lab.sock hmp info network

'wirebay ctl COMMAND --help' tells the rest."""


def run(argv: list[str]) -> int:
    """The command. Returns its exit status; raises OptionError for wrong usage, HostError at run time."""
    if argv[:1] == [COMPLETION]:
        return print_completion(argv[1:])
    verb, arguments = parse(argv)
    with Client(find_socket(arguments.socket)) as client:
        return verb.run(client, arguments)


def parse(argv: list[str]) -> tuple[Verb, argparse.Namespace]:
    """Which command is meant, and its arguments. Leaves if they are wrong."""
    parser = make_parser()
    own = parser.parse_args(argv)
    if not own.words:
        parser.error(f"give a command: {LISTED}")
    name, *words = own.words
    if name not in VERBS:
        parser.error(f"unknown command '{name}'; the commands are {LISTED}")
    verb = VERBS[name]
    inner = make_inner_parser(verb, own.socket)
    arguments = inner.parse_intermixed_args(words)  # options may stand between the words
    verb.check(inner, arguments)
    return verb, arguments


def make_parser() -> Parser:
    """The parser of what stands before the command, and of the command's name."""
    parser = Parser("ctl", usage=USAGE, description=DESCRIPTION, epilog=EXAMPLES)
    add_socket_option(parser, None)
    parser.add_argument("words", nargs=argparse.REMAINDER, metavar="COMMAND", help="one of the above")
    return parser


def make_inner_parser(verb: Verb, path: str | None = None) -> Parser:
    """The parser of one command's arguments; `path` is the socket that was named before it."""
    parser = Parser(f"ctl {verb.name}", usage=verb.usage, description=f"{verb.purpose}.")
    add_socket_option(parser, path)
    verb.add_arguments(parser)
    return parser


def print_completion(argv: list[str]) -> int:
    """Print the script that teaches a shell what can be typed."""
    from wirebay.cli.completion import SHELLS
    from wirebay.cli.completion_words import all_words

    parser = Parser(f"ctl {COMPLETION}", usage="SHELL", description="print the completion of all commands.")
    parser.add_argument("shell", choices=SHELLS, metavar="SHELL", help=", ".join(SHELLS))
    print(SHELLS[parser.parse_args(argv).shell](all_words()), end="")
    return 0


def add_socket_option(parser: Parser, default: str | None) -> None:
    """The option `--socket`, which may stand before and after the command."""
    parser.add_argument("--socket", metavar="PATH", default=default, help="the socket that --control named")


def find_socket(path: str | None) -> Path:
    """Where to connect to. Raises OptionError when nothing tells."""
    named = path or os.environ.get(ENVIRONMENT)
    if named:
        return Path(named)
    directory = runtime_directory()
    if directory is None:
        raise OptionError(f"which wirebay? Give --socket PATH, or set {ENVIRONMENT}")
    match [place for place in sorted(directory.glob("*.sock")) if is_alive(place)]:
        case [place]:
            return place
        case []:
            raise OptionError(
                f"which wirebay? None has its socket in {directory}: give --socket PATH, or set {ENVIRONMENT}"
            )
        case places:
            names = ", ".join(place.name for place in places)
            raise OptionError(f"which wirebay? Several are in {directory}: give --socket with one of {names}")


def is_alive(place: Path) -> bool:
    """Does somebody listen there? A wirebay that was killed leaves its socket behind."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as visitor:
        visitor.setblocking(False)
        try:
            visitor.connect(str(place))
        except BlockingIOError:
            return True
        except OSError:
            return False
    return True
