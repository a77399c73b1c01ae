"""hostfwd: the sockets on the host that let connections and datagrams in to a guest."""

from __future__ import annotations

import errno
import socket
from dataclasses import replace
from ipaddress import IPv4Address

from wirebay.errors import HostError, OptionError
from wirebay.options.types import HostForward

# Connections that wait for the worker; the kernel bounds it by net.core.somaxconn.
BACKLOG = 1024
REMEDIES = {
    errno.EACCES: "; ports below net.ipv4.ip_unprivileged_port_start need root",
    errno.EADDRNOTAVAIL: " on this host",
}


def open_forward(rule: HostForward) -> tuple[socket.socket, HostForward]:
    """The socket of a rule, listening (TCP) or bound (UDP), and the rule with the real port in place of 0.

    Raises HostError with QEMU's sentence and the reason.
    """
    kind = socket.SOCK_STREAM if rule.proto == "tcp" else socket.SOCK_DGRAM
    sock = socket.socket(socket.AF_INET, kind)
    try:
        sock.setblocking(False)
        if rule.proto == "tcp":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((str(rule.host_addr), rule.host_port))
        if rule.proto == "tcp":
            sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        reason = f"{error.strerror}{REMEDIES.get(error.errno or 0, '')}"
        raise HostError(f"Could not set up host forwarding rule '{rule.text}': {reason}") from error
    return sock, replace(rule, host_port=sock.getsockname()[1])


def find_forward(forwards: dict[str, HostForward], wanted: HostForward | str) -> str:
    """The name of the open forward meant by a rule, its text, or QEMU's `[tcp|udp]:[hostip]:hostport`.

    Raises OptionError when there is none.
    """
    text = wanted if isinstance(wanted, str) else wanted.text
    short = normal_form(text)
    for name, forward in forwards.items():
        if wanted == forward or text == forward.text or short == endpoint_text(forward):
            return name
    raise OptionError(f"host forwarding rule '{text}' is not open")


def normal_form(text: str) -> str:
    """`[tcp|udp]:[hostip]:hostport` with QEMU's defaults filled in; other text unchanged."""
    match text.split(":"):
        case [proto, host, port]:
            return f"{proto or 'tcp'}:{host or IPv4Address(0)}:{port}"
    return text


def endpoint_text(forward: HostForward) -> str:
    """Where a forward listens, e.g. `tcp:127.0.0.1:2222`."""
    return f"{forward.proto}:{forward.host_addr}:{forward.host_port}"


def describe_forward(forward: HostForward) -> str:
    """One forward for people."""
    return f"{endpoint_text(forward)} to {forward.guest_addr}:{forward.guest_port}"
