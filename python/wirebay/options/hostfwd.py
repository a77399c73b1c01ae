"""Rules that let connections in, QEMU's `hostfwd=`, and what Wirebay adds to them.

    [tcp|udp]:[HOSTADDR][%IFACE]:HOSTPORT-[GUESTADDR]:GUESTPORT[+proxy-in][+proxy-out]
    unix:/PATH-[GUESTADDR]:GUESTPORT[+proxy-in][+proxy-out]

Ours are: a name or an IPv6 address in brackets as HOSTADDR and GUESTADDR, IFACE, FIRST..LAST as HOSTPORT
(then GUESTPORT is the first of as many), and the PROXY protocol.
"""

from __future__ import annotations

import os
import re
from ipaddress import IPv4Address
from typing import Literal

from wirebay.errors import OptionError
from wirebay.options.addresses import is_host_name, is_interface, parse_ipv4, parse_ipv6
from wirebay.options.reader import parse_number
from wirebay.options.types import Address, HostForward

ANY_ADDRESS = IPv4Address(0)
MAX_PORT = 65535
MAX_UNIX_PATH = 107  # bytes of sockaddr_un.sun_path, less the final zero

_PROTOCOLS: dict[str, Literal["tcp", "udp"]] = {"": "tcp", "tcp": "tcp", "udp": "udp"}
_PROXY = re.compile(r"(\+proxy-(?:in|out))+\Z")
_HOST = re.compile(r"(\[[^\]]*\][^:]*|[^\[:][^:]*|):(.*)", re.DOTALL)
_RANGE = re.compile(r"(.*?)\.\.(.*)", re.DOTALL)


class BadRuleError(Exception):
    """What is wrong with a rule, in QEMU's words where it has some."""


def parse_hostfwd(rule: str) -> HostForward:
    """Read a forwarding rule.

    An empty protocol is tcp, an empty host address all IPv4 addresses of the host, host port 0 any free port,
    an empty guest address the first one DHCP gives out. Ports are decimal or 0x hexadecimal. A port must be
    a number as a whole, where QEMU 11.1 ignores what follows. The path of a unix socket ends at the last
    `-`. Raises OptionError.
    """
    proxy = _PROXY.search(rule)
    body, suffix = (rule[: proxy.start()], proxy[0]) if proxy else (rule, "")
    try:
        if body.startswith("unix:"):
            return _parse_unix(body.removeprefix("unix:"), rule, suffix)
        return _parse_inet(body, rule, suffix)
    except BadRuleError as reason:
        raise OptionError(f"Invalid host forwarding rule '{rule}' ({reason})") from None


def split_host(text: str, missing: str, bad: str) -> tuple[str, str]:
    """Part `ADDR:REST`, where an ADDR in brackets may have colons. Raises BadRuleError."""
    match = _HOST.match(text)
    if match is None:
        raise BadRuleError(bad if text.startswith("[") else missing)
    return match[1], match[2]


def parse_host(text: str) -> Address | str | None:
    """An IPv4 address, an IPv6 address in brackets, or a name; None for any other text."""
    if text.startswith("["):
        return parse_ipv6(text[1:-1]) if text.endswith("]") else None
    return parse_ipv4(text) or (text if is_host_name(text) else None)


def _parse_inet(body: str, rule: str, suffix: str) -> HostForward:
    name, rest = _split(body, ":", "No : separators")
    if name not in _PROTOCOLS:
        raise BadRuleError("Bad protocol name")
    if suffix and _PROTOCOLS[name] != "tcp":
        raise BadRuleError("The PROXY protocol needs tcp")
    host, rest = split_host(rest, "Missing : separator", "Bad host address")
    host_addr, interface = _host_side(host)
    text, rest = _split(rest, "-", "Bad host port separator")
    host_port, ports = _port_range(text)
    guest_addr, guest_port = _guest_side(rest, ports)
    return HostForward(
        proto=_PROTOCOLS[name],
        host_addr=host_addr,
        host_port=host_port,
        guest_addr=guest_addr,
        guest_port=guest_port,
        text=rule,
        ports=ports,
        interface=interface,
        proxy_in="in" in suffix,
        proxy_out="out" in suffix,
    )


def _parse_unix(body: str, rule: str, suffix: str) -> HostForward:
    path, dash, rest = body.rpartition("-")
    if not dash:
        raise BadRuleError("Missing - separator")
    if path == "":
        raise BadRuleError("Missing unix socket path")
    if not path.startswith("/"):
        raise BadRuleError("unix socket path must be absolute")
    if len(os.fsencode(path)) > MAX_UNIX_PATH:
        raise BadRuleError("Unix socket path is too long")
    guest_addr, guest_port = _guest_side(rest, 1)
    return HostForward(
        proto="unix",
        host_addr=path,
        host_port=0,
        guest_addr=guest_addr,
        guest_port=guest_port,
        text=rule,
        proxy_in="in" in suffix,
        proxy_out="out" in suffix,
    )


def _split(text: str, separator: str, reason: str) -> tuple[str, str]:
    head, found, rest = text.partition(separator)
    if not found:
        raise BadRuleError(reason)
    return head, rest


def _host_side(text: str) -> tuple[Address | str, str | None]:
    """The address to listen on, and the interface: `ADDR%IFACE`, `[ADDR]%IFACE` or `[ADDR%IFACE]`."""
    inside = re.fullmatch(r"\[([^%\]]*)(%[^\]]*)\]", text)
    address, percent, interface = (f"[{inside[1]}]{inside[2]}" if inside else text).partition("%")
    if percent and not is_interface(interface):
        raise BadRuleError("Bad interface name")
    parsed = parse_host(address) if address else ANY_ADDRESS
    if parsed is None:
        raise BadRuleError("Bad host address")
    return parsed, interface or None


def _guest_side(text: str, ports: int) -> tuple[Address | str | None, int]:
    guest, port_text = split_host(text, "Missing guest address", "Bad guest address")
    guest_addr = parse_host(guest) if guest else ANY_ADDRESS
    if guest_addr is None:
        raise BadRuleError("Bad guest address")
    guest_port = _port(port_text, 1, "Bad guest port")
    if guest_port + ports - 1 > MAX_PORT:
        raise BadRuleError("Bad guest port")
    return None if guest_addr == ANY_ADDRESS else guest_addr, guest_port


def _port_range(text: str) -> tuple[int, int]:
    """The first host port and how many there are."""
    match = _RANGE.fullmatch(text)
    if match is None:
        return _port(text, 0, "Bad host port"), 1
    first, last = (_port(part, 1, "Bad host port") for part in match.groups())
    if last < first:
        raise BadRuleError("Bad host port")
    return first, last - first + 1


def _port(text: str, lowest: int, reason: str) -> int:
    port = parse_number(text)
    if port is None or not lowest <= port <= MAX_PORT:
        raise BadRuleError(reason)
    return port
