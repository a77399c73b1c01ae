"""wirebay ns: a rootless namespace with a working network, for a new command or around a running process."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import errno
import os
import signal
import time
from collections.abc import Awaitable, Callable
from ipaddress import IPv4Interface, IPv6Interface
from pathlib import Path
from typing import TYPE_CHECKING, cast

from wirebay.cli.control import Doors, add_api_option, add_control_option
from wirebay.cli.parser import Parser
from wirebay.cli.ready import check_ready_fd, report_ready
from wirebay.errors import HostError, OptionError, WirebayError
from wirebay.ifconfig import GuestConfig
from wirebay.options.netdev import UserOptions, netdev_from_dict

if TYPE_CHECKING:
    from wirebay.network import Network
    from wirebay.tun import Tap

#: The host part of the interface's IPv6 address, which looks like 10.0.2.15 (`POOL_START` of DHCPv6).
FIRST_GUEST6 = 0x15
#: How long the last bytes of a command that has ended may take, seconds.
DRAIN_SECONDS = 2.0

DESCRIPTION = """\
Run COMMAND (your shell, if none is given) in a new network namespace that has a network; no root needed.

Inside you are root, and the interface tap0 has the address 10.0.2.15, its default route over 10.0.2.2
and a resolv.conf that names 10.0.2.3. Connections go out as your own, through this host; 10.0.2.2 is
this host itself. Nothing comes in except through --hostfwd. The exit status is COMMAND's.

With --pid the namespace of a process that runs is connected instead, and served until that process ends.
Its resolv.conf is not touched: 'nameserver 10.0.2.3' is what belongs there."""

EXAMPLES = """\
examples:
  wirebay ns -- curl -sI https://example.org
  wirebay ns --hostfwd tcp:127.0.0.1:8080-:80 -- ./server --port 80
  wirebay ns --net 192.168.7.0/24 --host-loopback off     a shell that cannot reach this host's own servers
  unshare -rn sleep 1000 & wirebay ns --pid $!"""


def run(argv: list[str]) -> int:
    """The command. Returns its exit status; leaves with 2 for wrong usage, raises WirebayError."""
    arguments = parse(argv)
    options = user_options(arguments)
    guest = guest_config(options, arguments.ifname)
    doors = Doors.of(arguments)
    check_ready_fd(arguments.ready_fd)
    if arguments.pid is not None:
        return serve_process(arguments.pid, options, guest, arguments.ready_fd, doors)
    return run_command(arguments.command, options, guest, arguments.ready_fd, doors)


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
    add("--mtu", type=int, default=1500, metavar="N", help="bytes in a packet (default: 1500)")
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
        default="on",
        help="may the inside reach servers on this host's 127.0.0.1, at 10.0.2.2? (default: on)",
    )
    add("--restrict", action="store_true", help="nothing goes out; --hostfwd still lets connections in")


def user_options(arguments: argparse.Namespace) -> UserOptions:
    """The user network that the arguments describe. Raises OptionError."""
    if arguments.net is not None:
        check_net(arguments.net)
    values: dict[str, object] = {
        "type": "user",
        "id": "user0",
        "mtu": arguments.mtu,
        "restrict": arguments.restrict,
        "host-loopback": arguments.host_loopback == "on",
        "hostfwd": arguments.hostfwd,
    }
    given = {"net": arguments.net, "hostname": arguments.hostname}
    values |= {name: value for name, value in given.items() if value is not None}
    return cast(UserOptions, netdev_from_dict(values))


def check_net(net: str) -> None:
    """Raise OptionError, which names --net, if there can be no user network with these addresses."""
    try:
        netdev_from_dict({"type": "user", "id": "user0", "net": net})
    except OptionError as error:
        raise OptionError(f"--net {net}: {error}") from error


def guest_config(options: UserOptions, ifname: str) -> GuestConfig:
    """What the interface inside gets: what DHCP would give the network's first client."""
    plan = options.ipv4
    assert plan, "no option of this command switches IPv4 off"
    address = IPv4Interface((plan.dhcpstart, plan.net.prefixlen))
    six = options.ipv6
    address6 = IPv6Interface((six.net.network_address + FIRST_GUEST6, six.net.prefixlen)) if six else None
    return GuestConfig(
        address=address,
        gateway=plan.host,
        dns=plan.dns,
        mtu=options.mtu,
        ifname=ifname,
        address6=address6,
        gateway6=six.host if six else None,
    )


async def drained(network: Network) -> None:
    """Wait, not for long, until what COMMAND sent before it ended has gone out: its kernel still has it."""
    end = time.monotonic() + DRAIN_SECONDS
    with contextlib.suppress(WirebayError):  # a dead worker has nothing left to send
        while time.monotonic() < end:
            ports = (await network.stats())["ports"].values()
            if not any(port.get("flows", {}).get("tcp") for port in ports):
                return
            await asyncio.sleep(0.01)


def run_command(
    command: list[str], options: UserOptions, guest: GuestConfig, ready_fd: int | None, doors: Doors
) -> int:
    """Run `command` in a namespace of its own; returns its exit status."""
    from wirebay.netns import spawn

    inside = spawn(command, guest)  # before any event loop; what follows is imported while it sets itself up
    try:
        from wirebay.cli.child import supervise
        from wirebay.cli.loop import run_loop

        def go() -> None:
            inside.go()
            report_ready(ready_fd)

        async def serve(network: Network) -> int:
            async with doors.open(network):
                status = await supervise(inside.pid, network, command[0], go=go)
            await drained(network)
            return status

        return run_loop(with_network(options, inside.tap(), serve))
    finally:
        inside.close()


def serve_process(
    pid: int, options: UserOptions, guest: GuestConfig, ready_fd: int | None, doors: Doors
) -> int:
    """Connect the namespace of process `pid`, and serve it until the process ends or a signal says stop."""
    from wirebay.cli.loop import run_loop, until_stopped
    from wirebay.netns import netns_of, open_tap_in

    pidfd = open_process(pid)
    try:
        check_elsewhere(pid, netns_of(pid))
        tap = open_tap_in(netns_of(pid), guest=guest)
        check_alive(pid, pidfd)

        async def serve(network: Network) -> int:
            async with doors.open(network):
                report_ready(ready_fd)
                await until_stopped(network, pidfd)
            return 0

        return run_loop(with_network(options, tap, serve))
    finally:
        os.close(pidfd)


def open_process(pid: int) -> int:
    """A pidfd: it tells when the process ends, and never means another one. Raises HostError."""
    try:
        return os.pidfd_open(pid)
    except OverflowError:
        reason: str | None = "no such process"
    except OSError as error:
        reason = "no such process" if error.errno in (errno.ESRCH, errno.EINVAL) else error.strerror
    raise HostError(f"--pid {pid}: {reason}")


def check_elsewhere(pid: int, netns: str) -> None:
    """Raise HostError for a process in our own network namespace: it would lose its way out over ours."""
    with contextlib.suppress(OSError):  # said better by whoever enters it
        if Path(netns).samefile("/proc/self/ns/net"):
            raise HostError(
                f"--pid {pid}: the process is in this network namespace itself; start it with 'unshare --net'"
            )


def check_alive(pid: int, pidfd: int) -> None:
    """Raise HostError if the process is gone, so that its pid may mean another one."""
    try:
        signal.pidfd_send_signal(pidfd, 0)
    except ProcessLookupError:
        raise HostError(f"--pid {pid}: the process ended") from None
    except PermissionError:
        return  # it is there; its network namespace was ours to enter all the same


async def with_network(options: UserOptions, tap: Tap, serve: Callable[[Network], Awaitable[int]]) -> int:
    """Join the TAP, which it takes over, and the user network, then `serve`; returns what that returned."""
    from wirebay.network import Network

    async with Network() as network:
        ports = [await network.add("tap", id="tap0", tap=tap), await network.add(options)]
        await network.join(*ports)
        return await serve(network)
