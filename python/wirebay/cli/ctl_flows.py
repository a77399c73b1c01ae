"""`wirebay ctl flows`: who talks with whom through the user networks."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

from wirebay.cli.ctl_read import bracketed, duration
from wirebay.cli.ctl_verb import Verb, add_json_option, print_columns, print_json
from wirebay.cli.parser import Parser
from wirebay.control.client import Client

__all__ = ["FLOWS"]


def flows(client: Client, arguments: argparse.Namespace) -> int:
    """All flows of one user network, or of every one."""
    found = [flow for name in networks(client, arguments.port) for flow in of_network(client, name)]
    if arguments.json:
        print_json(found)
        return 0
    head = ("PORT", "PROTO", "STATE", "GUEST", "PEER", "SENT", "RECEIVED", "AGE")
    print_columns(head, [row(flow) for flow in found])
    return 0


def networks(client: Client, name: str | None) -> list[str]:
    """The user networks that are meant."""
    if name is not None:
        return [name]
    return [port["id"] for port in client.execute("wirebay-query-ports") if port["type"] == "user"]


def of_network(client: Client, name: str) -> Iterator[dict[str, Any]]:
    """Every flow, page after page."""
    start: int | None = 0
    while start is not None:
        page = client.execute("query-flows", netdev_id=name, start=start)
        yield from ({"netdev-id": name, **flow} for flow in page["flows"])
        start = page["next"]


def row(flow: dict[str, Any]) -> tuple[object, ...]:
    """One line of the table; sent is what the guest has sent."""
    guest = end(flow["guest"], flow["guest-port"])
    peer = None if flow["peer"] is None else end(flow["peer"], flow["peer-port"])
    moved = flow["from-guest"], flow["to-guest"]
    return flow["netdev-id"], flow["protocol"], flow["state"], guest, peer, *moved, duration(flow["age"])


def end(address: str, port: int) -> str:
    """One end of a flow."""
    return f"{bracketed(address)}:{port}"


def add_flows_arguments(parser: Parser) -> None:
    """The arguments of `flows`."""
    parser.add_argument("port", nargs="?", metavar="ID", help="only those of this user network")
    add_json_option(parser)


FLOWS = Verb("flows", "[ID] [--json]", "who talks with whom, and how much", flows, add_flows_arguments)
