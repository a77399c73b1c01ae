"""hostfwd: the sockets on the host that let connections and datagrams in to a guest."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import re
import socket
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

from wirebay.errors import HostError, OptionError
from wirebay.options.types import Address, HostForward
from wirebay.ports.sockets import identity, unlink_if

# Connections that wait for the worker; the kernel bounds it by net.core.somaxconn.
BACKLOG = 1024
REMEDIES = {
    errno.EACCES: "; ports below net.ipv4.ip_unprivileged_port_start need root",
    errno.EADDRNOTAVAIL: " on this host",
}
ENDPOINT = re.compile(r"(tcp|udp|):(\[[^\]]*\]|[^:%]*)((?:%[^:]*)?:[^:-]*)")


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenForward:
    """A rule whose sockets are open. `rule` has the real host address and ports.

    `sockets` are one for each port, in their order, listening or bound. Whoever has them closes them; `undo`
    removes what else the rule left on the host.
    """

    rule: HostForward
    sockets: tuple[socket.socket, ...]
    undo: Callable[[], None]

    @property
    def is_proxied(self) -> bool:
        """Whether Python has to accept the connections, because a PROXY header is read or written."""
        return self.rule.proxy_in or self.rule.proxy_out

    def close(self) -> None:
        """Close the sockets, once the worker has its copies."""
        for sock in self.sockets:
            sock.close()


async def open_forward(rule: HostForward) -> OpenForward:
    """Open the sockets of a rule, all or none. The rule's guest address is known by now.

    Raises HostError with QEMU's sentence and the reason.
    """
    if rule.proto == "unix":
        return _open_unix(rule)
    addr = await _host_address(rule)
    sockets: list[socket.socket] = []
    try:
        for number in range(rule.ports):
            port = rule.host_port + number
            with _told(rule, port):
                sockets.append(_open_inet(rule, addr, port))
    except BaseException:
        for sock in sockets:
            sock.close()
        raise
    first = sockets[0].getsockname()[1]
    return OpenForward(
        rule=replace(rule, host_addr=addr, host_port=first), sockets=tuple(sockets), undo=_nothing
    )


async def resolve(name: str, rule: HostForward, like: Address | str | None = None) -> Address:
    """The first address of a host name, of the family of `like` if it has one. Raises HostError."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError):
        found = []
    addresses = [ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]
    if not addresses:
        raise _failure(rule, f"the name '{name}' has no address")
    version = like.version if isinstance(like, (IPv4Address, IPv6Address)) else 4
    return min(addresses, key=lambda address: address.version != version)


async def _host_address(rule: HostForward) -> Address:
    if isinstance(rule.host_addr, str):
        return await resolve(rule.host_addr, rule, rule.guest_addr)
    return rule.host_addr


def _open_inet(rule: HostForward, addr: Address, port: int) -> socket.socket:
    """The socket of one port, listening or bound. Raises OSError."""
    family = socket.AF_INET if addr.version == 4 else socket.AF_INET6
    sock = socket.socket(family, socket.SOCK_STREAM if rule.proto == "tcp" else socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        if rule.proto == "tcp":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # So that a rule for 0.0.0.0 and one for [::] do not stand in each other's way.
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if rule.interface:
            # Since Linux 5.7 anybody may, where nothing is bound yet.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, rule.interface.encode() + b"\0")
        sock.bind(_name(addr, port, rule.interface))
        if rule.proto == "tcp":
            sock.listen(BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


def _name(addr: Address, port: int, interface: str | None) -> tuple[str, int] | tuple[str, int, int, int]:
    """What to bind to. A link-local address means nothing without its interface."""
    if addr.version == 4:
        return str(addr), port
    scoped = interface if addr.is_link_local else None
    return str(addr), port, 0, socket.if_nametoindex(scoped) if scoped else 0


def _open_unix(rule: HostForward) -> OpenForward:
    """A listener on a path, in place of a socket whose server is gone."""
    path = Path(str(rule.host_addr))
    _remove_stale(path, rule)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        with _told(rule):
            sock.bind(str(path))
            ours = identity(path)
            sock.listen(BACKLOG)
    except BaseException:
        sock.close()
        raise
    return OpenForward(rule=rule, sockets=(sock,), undo=lambda: unlink_if(path, ours))


def _remove_stale(path: Path, rule: HostForward) -> None:
    with _told(rule), contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise HostError(
                f"Invalid host forwarding rule '{rule.text}' (file exists and it's not unix socket)"
            )
        if _is_listening(path):
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
        path.unlink()


def _is_listening(path: Path) -> bool:
    """Whether a server is behind a socket. It sees a connection that ends at once."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        return probe.connect_ex(str(path)) != errno.ECONNREFUSED


def _nothing() -> None:
    pass


@contextlib.contextmanager
def _told(rule: HostForward, port: int | None = None) -> Iterator[None]:
    """Tell an OSError of the block in QEMU's words."""
    try:
        yield
    except OSError as error:
        which = f"port {port}: " if rule.ports > 1 else ""
        remedy = REMEDIES.get(error.errno or 0, "") if rule.proto != "unix" else ""
        raise _failure(rule, f"{which}{error.strerror}{remedy}") from error


def _failure(rule: HostForward, reason: str) -> HostError:
    return HostError(f"Could not set up host forwarding rule '{rule.text}': {reason}")


def find_forward(forwards: Mapping[str, OpenForward], wanted: HostForward | str) -> str:
    """The name of the open forward meant by a rule, its text, or where it listens, as `endpoint_text`.

    Where it listens may leave out what a rule may. Raises OptionError when there is none.
    """
    text = wanted if isinstance(wanted, str) else wanted.text
    short = normal_form(text)
    for name, forward in forwards.items():
        if wanted == forward.rule or text == forward.rule.text or short == endpoint_text(forward.rule):
            return name
    raise OptionError(f"host forwarding rule '{text}' is not open")


def normal_form(text: str) -> str:
    """`[tcp|udp]:[hostip]:hostport` with QEMU's defaults filled in; other text unchanged."""
    match = ENDPOINT.fullmatch(text)
    return f"{match[1] or 'tcp'}:{match[2] or IPv4Address(0)}{match[3]}" if match else text


def endpoint_text(forward: HostForward) -> str:
    """Where a forward listens, e.g. `tcp:127.0.0.1:2222`, `tcp:[::1]:8000..8010`, `unix:/run/x`."""
    if forward.proto == "unix":
        return f"unix:{forward.host_addr}"
    interface = f"%{forward.interface}" if forward.interface else ""
    ports = _ports_text(forward.host_port, forward.ports)
    return f"{forward.proto}:{bracketed(forward.host_addr)}{interface}:{ports}"


def describe_forward(forward: HostForward) -> str:
    """One forward for people."""
    guest = "" if forward.guest_addr is None else bracketed(forward.guest_addr)
    return f"{endpoint_text(forward)} to {guest}:{_ports_text(forward.guest_port, forward.ports)}"


def bracketed(addr: Address | str) -> str:
    """An address as it stands before a port."""
    return f"[{addr}]" if isinstance(addr, IPv6Address) else str(addr)


def _ports_text(first: int, ports: int) -> str:
    return str(first) if ports == 1 else f"{first}..{first + ports - 1}"
