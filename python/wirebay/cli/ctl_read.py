"""The commands of `wirebay ctl` that read, as tables or JSON; and forwards, which are also changed."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from wirebay.cli.ctl_verb import Verb, add_json_option, print_columns, print_json, printable
from wirebay.cli.parser import Parser
from wirebay.control.client import Client
from wirebay.errors import HostError

__all__ = ["FORWARDS", "LEASES", "PORTS", "STATS", "STATUS"]


def status(client: Client, arguments: argparse.Namespace) -> int:
    """Which process, for how long, with how much."""
    found = client.execute("wirebay-query-status")
    if arguments.json:
        print_json(found)
        return 0
    print(f"wirebay {printable(found['version'])}, process {found['pid']}, worker {found['worker-pid']}")
    print(f"up for {duration(found['uptime'])}")
    print(f"ports: {found['ports']}, hubs: {found['hubs']}")
    return 0


def ports(client: Client, arguments: argparse.Namespace) -> int:
    """Every port, with the hub it is on."""
    found = client.execute("wirebay-query-ports")
    if arguments.json:
        print_json(found)
        return 0
    rows = [(port["id"], port["type"], port["hub"], port["text"]) for port in found]
    print_columns(("PORT", "TYPE", "HUB", "WHAT"), rows)
    return 0


def leases(client: Client, arguments: argparse.Namespace) -> int:
    """Who has which address from DHCP."""
    found = client.execute("wirebay-query-leases")
    if arguments.json:
        print_json(found)
        return 0
    rows = [
        (lease["netdev-id"], lease["mac"], lease["address"], lease["name"], duration(lease["expires"]))
        for lease in found
    ]
    print_columns(("PORT", "MAC", "ADDRESS", "NAME", "EXPIRES IN"), rows)
    return 0


def duration(seconds: float | None) -> str:
    """A time span for people; None is for ever."""
    if seconds is None:
        return "never"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"


def stats(client: Client, arguments: argparse.Namespace) -> int:
    """The counters, of all ports or of one."""
    found = client.execute("wirebay-query-stats")["ports"]
    if arguments.port is not None:
        found = {name: counters for name, counters in found.items() if name == arguments.port}
        if not found:
            raise HostError(f"Device '{arguments.port}' not found")
    if arguments.json:
        print_json(found)
        return 0
    head = ("PORT", "RX FRAMES", "RX BYTES", "TX FRAMES", "TX BYTES", "FLOWS", "DROPS")
    print_columns(head, [stats_row(name, counters) for name, counters in found.items()])
    return 0


def stats_row(name: str, counters: Mapping[str, Any]) -> tuple[object, ...]:
    """One line of the table; a port that just went has no counters."""
    moved = [counters.get(key, 0) for key in ("rx_frames", "rx_bytes", "tx_frames", "tx_bytes")]
    return (name, *moved, tally(counters.get("flows")), tally(counters.get("drops")))


def tally(counts: Mapping[str, int] | None) -> str | None:
    """Counts by name, without those that are nothing."""
    return ", ".join(f"{name} {count}" for name, count in (counts or {}).items() if count) or None


def forwards(client: Client, arguments: argparse.Namespace) -> int:
    """List the forwards, open one or close one."""
    if arguments.action == "remove":
        client.execute("wirebay-forward-remove", **forward_arguments(arguments))
        return 0
    if arguments.action == "add":
        opened = client.execute("wirebay-forward-add", **forward_arguments(arguments))
        if arguments.json:
            print_json(opened)
        else:
            print(printable(" to ".join(ends(opened))))
        return 0
    found = client.execute("wirebay-query-forwards")
    if arguments.port is not None:
        found = [forward for forward in found if forward["netdev-id"] == arguments.port]
    if arguments.json:
        print_json(found)
        return 0
    rows = [(forward["netdev-id"], forward["type"], *ends(forward)) for forward in found]
    print_columns(("PORT", "TYPE", "FROM", "TO"), rows)
    return 0


def forward_arguments(arguments: argparse.Namespace) -> dict[str, str | None]:
    """The arguments of the command that changes a forward."""
    kind = "guestfwd" if arguments.guestfwd else None
    return {"rule": arguments.rule, "netdev_id": arguments.port, "type": kind}


def ends(forward: Mapping[str, Any]) -> tuple[str, str]:
    """Both ends of a forward, the first as `forwards remove` takes it."""
    protocol = forward["protocol"]
    if forward["type"] == "guestfwd":
        return f"{protocol}:{bracketed(forward['server'])}:{forward['server-port']}", forward["target"]
    host, ports = forward["host"], forward["ports"]
    if protocol == "unix":
        source = f"unix:{host}"
    else:
        interface = f"%{forward['interface']}" if forward["interface"] else ""
        source = f"{protocol}:{bracketed(host)}{interface}:{port_range(forward['host-port'], ports)}"
    return source, f"{bracketed(forward['guest'])}:{port_range(forward['guest-port'], ports)}"


def bracketed(host: str) -> str:
    """An address as it stands before a port."""
    return f"[{host}]" if ":" in host else host


def port_range(first: int, ports: int) -> str:
    """A port, or several in a row."""
    return str(first) if ports == 1 else f"{first}..{first + ports - 1}"


def add_forwards_arguments(parser: Parser) -> None:
    """The arguments of `forwards`."""
    parser.add_argument("action", nargs="?", choices=("add", "remove"), help="without it they are listed")
    parser.add_argument(
        "rule",
        nargs="?",
        metavar="RULE",
        help="as hostfwd= takes it, e.g. tcp:127.0.0.1:8080-:80; to remove, tcp:127.0.0.1:8080 is enough",
    )
    parser.add_argument("--guestfwd", action="store_true", help="RULE is one of guestfwd=")
    parser.add_argument("--port", metavar="ID", help="the user network; needed where there are several")
    add_json_option(parser)


def check_forwards(parser: Parser, arguments: argparse.Namespace) -> None:
    """Leave where the rule is missing; raises OptionError where it cannot be one."""
    if arguments.action is not None and arguments.rule is None:
        parser.error(f"there is no RULE to {arguments.action}")
    if arguments.guestfwd and arguments.action is None:
        parser.error("--guestfwd says what to add or remove; all are listed")
    if arguments.action == "add" and not arguments.guestfwd:
        from wirebay.options.hostfwd import parse_hostfwd

        parse_hostfwd(arguments.rule)


def add_stats_arguments(parser: Parser) -> None:
    """The arguments of `stats`."""
    parser.add_argument("port", nargs="?", metavar="ID", help="only this port")
    add_json_option(parser)


STATUS = Verb("status", "[--json]", "the process, its worker, and how much there is", status, add_json_option)
PORTS = Verb("ports", "[--json]", "every port: what it is, and the hub it is on", ports, add_json_option)
LEASES = Verb("leases", "[--json]", "who has which address from DHCP", leases, add_json_option)
STATS = Verb("stats", "[ID] [--json]", "the counters of every port, or of one", stats, add_stats_arguments)
FORWARDS = Verb(
    "forwards",
    "[add RULE | remove RULE] [--guestfwd] [--port ID] [--json]",
    "list the forwards between host and guests, open one, close one",
    forwards,
    add_forwards_arguments,
    check_forwards,
)
