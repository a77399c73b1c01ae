"""The options of wirebay ns: from arguments to a network, and to what the interface inside gets."""

from __future__ import annotations

import argparse
import os
from ipaddress import IPv4Interface, IPv6Address, IPv6Interface
from typing import cast

from wirebay.cli.control import add_api_option, add_control_option
from wirebay.cli.parser import Parser
from wirebay.errors import OptionError
from wirebay.ifconfig import GuestConfig
from wirebay.options.grammar import Pairs, parse_pairs
from wirebay.options.netdev import UserOptions, netdev_from_dict, netdev_from_pairs
from wirebay.options.types import Plan6
from wirebay.options.user import search_domains

__all__ = ["guest_config", "make_parser", "parse", "user_options"]

#: The host part of the interface's IPv6 address, which looks like 10.0.2.15 (`POOL_START` of DHCPv6).
FIRST_GUEST6 = 0x15
DESCRIPTION = """\
Run COMMAND (your shell, if none is given) in a new network namespace that has a network; no root needed.

Inside you are root, and the interface tap0 has the address 10.0.2.15, its default route over 10.0.2.2
and a resolv.conf that names 10.0.2.3. Connections go out as your own, through this host; 10.0.2.2 is
this host itself. IPv6 is there as well: fec0::15, fec0::2 and fec0::3. Nothing comes in except through
--hostfwd. The exit status is COMMAND's.

With --pid the namespace of a process that runs is connected instead, and served until that process ends.
Its resolv.conf is not touched: 'nameserver 10.0.2.3' is what belongs there."""

EXAMPLES = """\
examples:
  wirebay ns -- curl -sI https://example.org
  wirebay ns --hostfwd tcp:127.0.0.1:8080-:80 -- ./server --port 80
  wirebay ns --net 192.168.7.0/24 --host-loopback off     a shell that cannot reach this host's own servers
  wirebay ns --user dnssearch=lab.example,tftp=/srv/tftp  with what QEMU's user network has
  unshare -rn sleep 1000 & wirebay ns --pid $!"""


def parse(argv: list[str]) -> argparse.Namespace:
    """Read the arguments; `command` is what follows the first `--`, or a shell. Leaves if they are wrong."""
    own, separator, command = split_command(argv)
    parser = make_parser()
    arguments, rest = parser.parse_known_args(own)
    if rest:
        hint = "" if rest[0].startswith("-") else "; COMMAND comes after --"
        parser.error(f"unrecognized argument '{rest[0]}'{hint}")
    if arguments.pid is not None and command:
        parser.error("--pid connects a process that runs already, and takes no COMMAND")
    if separator and not command:
        parser.error("there is no COMMAND after --")
    arguments.command = command or [os.environ.get("SHELL") or "/bin/sh"]
    return arguments


def split_command(argv: list[str]) -> tuple[list[str], bool, list[str]]:
    """Our arguments, whether there is a `--`, and what follows it."""
    if "--" not in argv:
        return argv, False, []
    position = argv.index("--")
    return argv[:position], True, argv[position + 1 :]


def make_parser() -> Parser:
    """The parser of the command's own arguments."""
    parser = Parser("ns", usage="[OPTIONS] [-- COMMAND...]", description=DESCRIPTION, epilog=EXAMPLES)
    add_network_options(parser)
    add = parser.add_argument
    add("--pid", type=int, metavar="PID", help="connect the namespace of this process instead")
    add("--ifname", default="tap0", metavar="NAME", help="name of the interface inside (default: tap0)")
    add_control_option(parser)
    add_api_option(parser)
    add("--ready-fd", type=int, metavar="N", help='write "1" to descriptor N when the network is up')
    return parser


def add_network_options(parser: Parser) -> None:
    """The options that say what the network is like."""
    add = parser.add_argument
    add("--net", metavar="ADDR/LEN", help="the network inside (default: 10.0.2.0/24)")
    family = parser.add_mutually_exclusive_group()
    for number, other in ((4, 6), (6, 4)):
        family.add_argument(
            f"-{number}", f"--ipv{number}-only", dest="without", action="store_const", const=f"ipv{other}",
            help=f"no IPv{other} inside",
        )  # fmt: skip
    add("--mtu", type=int, metavar="N", help="bytes in a packet (default: 1500)")
    add("--hostname", metavar="NAME", help="host name told to DHCP clients inside")
    add(
        "--hostfwd",
        action="append",
        default=[],
        metavar="RULE",
        help="let connections in, may be repeated: [tcp|udp]:[HOSTADDR]:HOSTPORT-[GUESTADDR]:GUESTPORT, "
        "for example tcp:127.0.0.1:8080-:80",
    )
    add(
        "--host-loopback",
        choices=("on", "off"),
        help="may the inside reach servers on this host's 127.0.0.1, at 10.0.2.2? (default: on)",
    )
    add("--restrict", action="store_true", help="nothing goes out; --hostfwd still lets connections in")
    add(
        "--user",
        action="append",
        default=[],
        metavar="OPTION=VALUE,...",
        help="any other option of the user network, as QEMU's -netdev user spells it, may be repeated: "
        "for example dnssearch=lab.example,guestfwd=tcp:10.0.2.9:7-cmd:cat",
    )


def user_options(arguments: argparse.Namespace) -> UserOptions:
    """The user network that the arguments describe. Raises OptionError."""
    if arguments.net is not None:
        check_net(arguments.net)
    pairs = [("type", "user"), ("id", "user0")]
    for text in arguments.user:
        pairs += passed_through(text)
    given = {
        "net": arguments.net,
        "mtu": arguments.mtu,
        "hostname": arguments.hostname,
        "host-loopback": arguments.host_loopback,
        "restrict": "on" if arguments.restrict else None,
        arguments.without: "off" if arguments.without else None,
    }
    pairs += [(name, str(value)) for name, value in given.items() if value is not None]
    pairs += [("hostfwd", rule) for rule in arguments.hostfwd]
    return cast(UserOptions, netdev_from_pairs(pairs))


def passed_through(text: str) -> Pairs:
    """The options in a --user. Raises OptionError for those that are not the user's to choose."""
    pairs = parse_pairs(f"user,{text}")[1:]
    for name, _ in pairs:
        if name in ("type", "id"):
            raise OptionError(f"--user {text}: Invalid parameter '{name}'")
    return pairs


def check_net(net: str) -> None:
    """Raise OptionError, which names --net, if there can be no user network with these addresses."""
    try:
        netdev_from_dict({"type": "user", "id": "user0", "net": net})
    except OptionError as error:
        raise OptionError(f"--net {net}: {error}") from error


def guest_config(options: UserOptions, ifname: str) -> GuestConfig:
    """What the interface inside gets: what DHCP would give the network's first client."""
    four, six = options.ipv4, options.ipv6
    first = four or six
    assert first, "a network has one family at least"
    return GuestConfig(
        address=IPv4Interface((four.dhcpstart, four.net.prefixlen)) if four else None,
        gateway=four.host if four else None,
        dns=first.dns,
        search=search_domains(options),
        mtu=options.mtu,
        ifname=ifname,
        address6=IPv6Interface((first_guest6(six), six.net.prefixlen)) if six else None,
        gateway6=six.host if six else None,
    )


def first_guest6(plan: Plan6) -> IPv6Address:
    """What DHCPv6 would give the network's first client."""
    start = FIRST_GUEST6 if plan.net.num_addresses > FIRST_GUEST6 else 1
    candidates = (plan.net[start + number] for number in range(3))
    return next(address for address in candidates if address not in (plan.host, plan.dns))
