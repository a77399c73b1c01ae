"""wirebay doctor: what works on this host, and how to mend what does not."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict

from wirebay.cli import probes
from wirebay.cli.checks import (
    Check,
    check_descriptors,
    check_namespaces,
    check_peek_offset,
    check_ping,
    check_ports,
    check_qemu,
    check_resolvers,
    check_smbd,
    check_tun,
    check_way,
)
from wirebay.cli.parser import Parser

DESCRIPTION = """\
Try what wirebay needs on this host, one line for each: its state, what was found, and the remedy.

  ok       works
  limited  works, with less than it could
  missing  does not work

The exit status is 1 when something is missing that 'wirebay ns' cannot do without, else 0."""


def make_parser() -> Parser:
    """The parser of the command's arguments."""
    parser = Parser("doctor", usage="[--json]", description=DESCRIPTION)
    parser.add_argument("--json", action="store_true", help="print the checks as a JSON list")
    return parser


def run(argv: list[str]) -> int:
    """The command. Returns its exit status."""
    arguments = make_parser().parse_args(argv)
    checks = examine()
    sys.stdout.write(as_json(checks) if arguments.json else table(checks))
    return exit_status(checks)


def examine() -> list[Check]:
    """Try everything on this host."""
    namespaces, tun, offloads = probes.try_namespace()
    ipv4, ipv6 = probes.ways()
    return [
        check_namespaces(namespaces),
        check_tun(tun, offloads),
        check_ping(probes.ping_group_range(), probes.groups()),
        check_qemu(probes.qemu_version()),
        check_way("IPv4", ipv4),
        check_way("IPv6", ipv6),
        check_resolvers(probes.resolvers()),
        check_descriptors(probes.descriptor_limit()),
        check_peek_offset(probes.has_peek_offset()),
        check_ports(probes.unprivileged_port_start(), probes.may_bind_any_port()),
        check_smbd(probes.smbd()),
    ]


def as_json(checks: list[Check]) -> str:
    """A list with an object per check."""
    return json.dumps([asdict(check) for check in checks], indent=2) + "\n"


def table(checks: list[Check]) -> str:
    """One line per check, in columns."""
    width = max(len(check.name) for check in checks)
    return "".join(line(check, width) for check in checks)


def line(check: Check, width: int) -> str:
    """The line of one check, its name padded to `width`."""
    remedy = f"; {check.remedy}" if check.remedy else ""
    return f"{check.state:<7}  {check.name:<{width}}  {check.found}{remedy}\n"


def exit_status(checks: list[Check]) -> int:
    """1 when something essential is missing."""
    return int(any(check.essential and check.state == "missing" for check in checks))
