"""The commands of `wirebay ctl` that change what runs: ports come, go and move, the file is read again."""

from __future__ import annotations

import argparse

from wirebay.cli.ctl_verb import Verb, add_json_option, print_json, printable
from wirebay.cli.parser import Parser
from wirebay.control.client import Client

__all__ = ["ADD", "LINK", "MOVE", "QUIT", "RELOAD", "REMOVE"]

DONE = {"added": "opened", "removed": "closed", "replaced": "reopened", "updated": "rules of"}


def add(client: Client, arguments: argparse.Namespace) -> int:
    """Add a port, and tell what it is: its real port numbers, for one."""
    print(printable(client.execute("wirebay-netdev-add", netdev=arguments.netdev)["text"]))
    return 0


def add_add_arguments(parser: Parser) -> None:
    """The arguments of `add`."""
    parser.add_argument("netdev", metavar="TYPE,...", help="the port, as -netdev takes it")


def check_add(parser: Parser, arguments: argparse.Namespace) -> None:
    """Raise OptionError for what is no port, before anybody is asked."""
    from wirebay.options.netdev import parse_netdev

    del parser
    parse_netdev(arguments.netdev)


def remove(client: Client, arguments: argparse.Namespace) -> int:
    """Remove a port."""
    client.execute("netdev_del", id=arguments.port)
    return 0


def add_port_argument(parser: Parser) -> None:
    """Which port."""
    parser.add_argument("port", metavar="ID", help="the port")


def move(client: Client, arguments: argparse.Namespace) -> int:
    """Move a port to another hub."""
    client.execute("wirebay-port-move", netdev_id=arguments.port, hub=arguments.hub)
    return 0


def add_move_arguments(parser: Parser) -> None:
    """The arguments of `move`."""
    add_port_argument(parser)
    parser.add_argument("hub", metavar="HUB", help="a hub that 'ports' shows, or hub0, hub1 ...")


def link(client: Client, arguments: argparse.Namespace) -> int:
    """Let the link of a port go up or down."""
    client.execute("set_link", name=arguments.port, up=arguments.state == "up")
    return 0


def add_link_arguments(parser: Parser) -> None:
    """The arguments of `link`."""
    add_port_argument(parser)
    parser.add_argument("state", choices=("up", "down"), help="what it is to be")


def reload(client: Client, arguments: argparse.Namespace) -> int:
    """Have the file read again, and tell what was changed."""
    changes = client.execute("wirebay-reload")
    if arguments.json:
        print_json(changes)
        return 0
    told = [f"{done} {', '.join(changes[kind])}" for kind, done in DONE.items() if changes[kind]]
    print(printable("; ".join(told) or "nothing has changed"))
    return 0


def quit_(client: Client, arguments: argparse.Namespace) -> int:
    """End it."""
    del arguments
    client.execute("quit")
    return 0


ADD = Verb("add", "TYPE,id=ID[,OPTION=VALUE...]", "add a port", add, add_add_arguments, check_add)
REMOVE = Verb("remove", "ID", "remove a port", remove, add_port_argument)
MOVE = Verb("move", "ID HUB", "plug a port into another hub", move, add_move_arguments)
LINK = Verb("link", "ID up|down", "let a port's link go up or down", link, add_link_arguments)
RELOAD = Verb("reload", "[--json]", "read the file of --config again", reload, add_json_option)
QUIT = Verb("quit", "", "end it, as SIGTERM does", quit_)
