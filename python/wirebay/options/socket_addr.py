"""QEMU's socket addresses in options: `addr.type=inet,addr.host=...`, and `HOST:PORT` in one text."""

from __future__ import annotations

import re
from collections.abc import Callable

from wirebay.errors import OptionError
from wirebay.options.addresses import parse_ipv4, parse_ipv6
from wirebay.options.link_types import FdAddr, InetAddr, SocketAddr, UnixAddr
from wirebay.options.reader import Reader, not_served, parse_number

NOT_SERVED_INET = ("keep-alive-count", "keep-alive-idle", "keep-alive-interval", "mptcp")
MAX_PORT = 65535

_ENDPOINT = re.compile(r"(?:\[([^]]+)\]|([^:\[\]]+))(?::(\w+))?")


def read_addr(section: Reader, name: str, network: str) -> SocketAddr:
    """Read the group of options `name` of a `network`. Raises OptionError with QEMU's sentence."""
    kind = section.required("type")
    if kind == "vsock":
        raise not_served(f"option '{name}.type=vsock' of the {network} network")
    if kind not in _ADDRESSES:
        raise OptionError(f"Parameter 'type' does not accept value '{kind}'")
    if kind == "inet":
        section.refuse(NOT_SERVED_INET, network)
    addr = _ADDRESSES[kind](section)
    section.finish()
    return addr


def parse_host_port(text: str) -> InetAddr:
    """An IPv4 address or a name, a colon and a port, as `socket` has them.

    An empty host is every address. A port over 65535 is refused, where QEMU wraps it. Names are resolved when
    the port opens. Raises OptionError with QEMU's sentence.
    """
    host, colon, port = text.rpartition(":")
    if not colon:
        raise OptionError(f"host address '{text}' doesn't contain ':' separating host from port")
    number = parse_number(port)
    if number is None or not 0 <= number <= MAX_PORT:
        raise OptionError(f"port number '{port}' is invalid")
    if host[:1].isdigit() and parse_ipv4(host) is None:
        raise OptionError(f"host address '{host}' is not a valid IPv4 address")
    return InetAddr(host=host, port=str(number), ipv4=True)


def parse_endpoint(text: str, default_port: str) -> InetAddr:
    """`HOST`, `HOST:PORT`, `[V6]:PORT` or a bare IPv6 address. Raises OptionError."""
    match = _ENDPOINT.fullmatch(text)
    if parse_ipv6(text.partition("%")[0]) is not None:
        return InetAddr(host=text, port=default_port)
    port = parse_number(match[3] or default_port) if match else None
    if match is None or port is None or not 0 <= port <= MAX_PORT:
        raise OptionError(f"'{text}' is not HOST, HOST:PORT or [IPV6]:PORT")
    return InetAddr(host=match[1] or match[2], port=str(port))


def _inet(section: Reader) -> InetAddr:
    return InetAddr(
        host=section.required("host"),
        port=section.required("port"),
        numeric=section.boolean("numeric") or False,
        to=section.integer("to", "uint16_t"),
        ipv4=section.boolean("ipv4"),
        ipv6=section.boolean("ipv6"),
        keep_alive=section.boolean("keep-alive") or False,
    )


def _unix(section: Reader) -> UnixAddr:
    return UnixAddr(
        path=section.required("path"),
        abstract=section.boolean("abstract") or False,
        tight=section.boolean("tight") is not False,
    )


def _fd(section: Reader) -> FdAddr:
    return FdAddr(fd=section.required("str"))


_ADDRESSES: dict[str, Callable[[Reader], SocketAddr]] = {"inet": _inet, "unix": _unix, "fd": _fd}
