"""Rules that make servers inside the guest's network, QEMU's `guestfwd=`, and what Wirebay adds to them.

    [tcp]:[SERVER]:PORT-cmd:COMMAND
    [tcp]:[SERVER]:PORT-tcp:HOST:PORT
    udp:[SERVER]:PORT-udp:HOST:PORT
    [tcp|udp]:[SERVER]:PORT-unix:/PATH

Ours are: udp, a SERVER or HOST that is an IPv6 address in brackets. QEMU takes any of its character devices
as the target, opened once for all connections; here every connection gets its own.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from ipaddress import IPv4Address
from typing import Literal

from wirebay.errors import OptionError
from wirebay.options.hostfwd import (
    ANY_ADDRESS,
    MAX_PORT,
    MAX_UNIX_PATH,
    BadRuleError,
    parse_host,
    split_host,
)
from wirebay.options.types import (
    Address,
    CommandTarget,
    GuestForward,
    InetTarget,
    Plan4,
    Plan6,
    UnixTarget,
)

Target = CommandTarget | UnixTarget | InetTarget

_PROTOCOLS: dict[str, Literal["tcp", "udp"]] = {"": "tcp", "tcp": "tcp", "udp": "udp"}


def parse_guestfwd(
    rule: str, ipv4: Plan4 | None, ipv6: Plan6 | None, others: Iterable[GuestForward] = ()
) -> GuestForward:
    """Read a rule for a network with these addresses, in which `others` are taken.

    An empty protocol is tcp, an empty server the address where QEMU has its SMB server (.4). Ports are
    decimal. Raises OptionError with QEMU's sentence, which is the same for all ways to misspell a rule.
    """
    try:
        proto, server, port, device = _part(rule)
        server = default_server(ipv4) if server == ANY_ADDRESS else server
        target = _target(proto, port, device)
    except BadRuleError:
        raise OptionError(f"Invalid guest forwarding rule '{rule}'") from None
    taken = {(other.proto, other.server, other.port) for other in others}
    if not is_free(server, ipv4, ipv6) or (proto, server, port) in taken:
        raise OptionError(f"Conflicting/invalid host:port in guest forwarding rule '{rule}'")
    return GuestForward(proto=proto, server=server, port=port, target=target, text=rule)


def is_free(server: Address, ipv4: Plan4 | None, ipv6: Plan6 | None) -> bool:
    """Whether `server` is an address of the network that no server of its own has."""
    plan = ipv4 if server.version == 4 else ipv6
    return plan is not None and server in plan.net and server not in (plan.host, plan.dns)


def _part(rule: str) -> tuple[Literal["tcp", "udp"], Address, int, str]:
    name, colon, rest = rule.partition(":")
    if not colon or name not in _PROTOCOLS:
        raise BadRuleError
    text, rest = split_host(rest, "", "")
    server = parse_host(text) if text else ANY_ADDRESS
    port_text, dash, device = rest.partition("-")
    if server is None or isinstance(server, str) or not dash:
        raise BadRuleError
    return _PROTOCOLS[name], server, _port(port_text), device


def default_server(ipv4: Plan4 | None) -> Address:
    """The address of a rule that names none. Raises BadRuleError in a network without IPv4."""
    if ipv4 is None:
        raise BadRuleError
    return IPv4Address(int(ipv4.net.network_address) | 0x0204 & int(ipv4.net.hostmask))


def _port(text: str) -> int:
    port = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
    if not 1 <= port <= MAX_PORT:
        raise BadRuleError
    return port


def _target(proto: str, port: int, device: str) -> Target:
    kind, colon, rest = device.partition(":")
    if colon and kind == "cmd" and proto == "tcp":
        return CommandTarget(command=rest)
    if colon and kind == proto:
        return _inet_target(rest)
    if colon and kind == "unix":
        return _unix_target(rest)
    served = "cmd:, tcp: and unix:" if proto == "tcp" else "udp: and unix:"
    raise OptionError(
        f"Could not open guest forwarding device 'guestfwd.{proto}.{port}': '{device}' is not one of {served}"
    )


def _inet_target(text: str) -> InetTarget:
    host_text, port_text = split_host(text, "", "")
    host = parse_host(host_text) if host_text else "localhost"
    if host is None:
        raise BadRuleError
    return InetTarget(host=str(host), port=_port(port_text))


def _unix_target(path: str) -> UnixTarget:
    if path == "" or len(os.fsencode(path)) > MAX_UNIX_PATH:
        raise BadRuleError
    return UnixTarget(path=path)
