"""Forwarding rules: `[tcp|udp]:[HOSTADDR]:HOSTPORT-[GUESTADDR]:GUESTPORT`, QEMU's `hostfwd=`."""

from __future__ import annotations

import socket
from ipaddress import IPv4Address
from typing import Literal

from wirebay.errors import OptionError
from wirebay.options.reader import not_served, parse_number
from wirebay.options.types import HostForward

ANY_ADDRESS = IPv4Address(0)
MAX_PORT = 65535

_PROTOCOLS: dict[str, Literal["tcp", "udp"]] = {"": "tcp", "tcp": "tcp", "udp": "udp"}


class _BadRuleError(Exception):
    """What is wrong with a rule, in QEMU's words."""


def parse_hostfwd(rule: str) -> HostForward:
    """Read a forwarding rule.

    An empty protocol is tcp, an empty host address all addresses of the host, host port 0 any free port, an
    empty guest address the first one DHCP gives out. Ports are decimal or 0x hexadecimal. A port must be a
    number as a whole, where QEMU 11.1 ignores what follows. Raises OptionError.
    """
    if rule.startswith("unix:"):
        raise not_served(f"option 'hostfwd={rule}' of the user network")
    try:
        return _parse(rule)
    except _BadRuleError as reason:
        raise OptionError(f"Invalid host forwarding rule '{rule}' ({reason})") from None


def parse_address(text: str) -> IPv4Address | None:
    """An IPv4 address in any form that inet_aton(3) takes (`10.2`, 0x0a000002); None if it is none."""
    try:
        return IPv4Address(socket.inet_aton(text))
    except (OSError, ValueError):  # ValueError: characters that no address has
        return None


def _parse(rule: str) -> HostForward:
    name, rest = _split(rule, ":", "No : separators")
    if name not in _PROTOCOLS:
        raise _BadRuleError("Bad protocol name")
    host, rest = _split(rest, ":", "Missing : separator")
    host_addr = _address(host, "Bad host address")
    text, rest = _split(rest, "-", "Bad host port separator")
    host_port = _port(text, 0, "Bad host port")
    guest, text = _split(rest, ":", "Missing guest address")
    guest_addr = _address(guest, "Bad guest address")
    guest_port = _port(text, 1, "Bad guest port")
    return HostForward(
        proto=_PROTOCOLS[name],
        host_addr=host_addr,
        host_port=host_port,
        guest_addr=None if guest_addr == ANY_ADDRESS else guest_addr,
        guest_port=guest_port,
        text=rule,
    )


def _split(text: str, separator: str, reason: str) -> tuple[str, str]:
    head, found, rest = text.partition(separator)
    if not found:
        raise _BadRuleError(reason)
    return head, rest


def _address(text: str, reason: str) -> IPv4Address:
    if text == "":
        return ANY_ADDRESS
    address = parse_address(text)
    if address is None:
        raise _BadRuleError(reason)
    return address


def _port(text: str, lowest: int, reason: str) -> int:
    port = parse_number(text)
    if port is None or not lowest <= port <= MAX_PORT:
        raise _BadRuleError(reason)
    return port
