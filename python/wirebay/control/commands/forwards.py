"""Forwards from the host to guests: listed, added and removed while they are used."""

from __future__ import annotations

from typing import Any

from wirebay.control.table import Command, Context, QmpError, device_not_found
from wirebay.network import Network
from wirebay.options.types import GuestForward, HostForward
from wirebay.ports.guest_forwards import target_text
from wirebay.ports.user import UserPort

__all__ = ["COMMANDS", "user_port", "user_ports"]


def user_ports(network: Network) -> list[UserPort]:
    """The user networks, in the order they were added."""
    return [port for port in network.ports.values() if isinstance(port, UserPort)]


def user_port(network: Network, name: str | None) -> UserPort:
    """The user network called `name`; without a name the only one. Raises QmpError."""
    if name is not None:
        port = network.ports.get(name)
        if port is None:
            raise device_not_found(name)
        if not isinstance(port, UserPort):
            raise QmpError(f"Device '{name}' is not a user network")
        return port
    match user_ports(network):
        case [port]:
            return port
        case []:
            raise QmpError("user mode network stack not in use")
        case several:
            raise QmpError(f"there are several user networks; name one of {listed(several)}")


def listed(ports: list[UserPort]) -> str:
    """Their ids, for a sentence."""
    return ", ".join(port.id for port in ports)


def forward_members(port: UserPort, forward: HostForward) -> dict[str, Any]:
    """A hostfwd rule. The host port is the one that is really open; of a unix socket `host` is the path."""
    return {
        "netdev-id": port.id,
        "type": "hostfwd",
        "protocol": forward.proto,
        "host": str(forward.host_addr),
        "host-port": forward.host_port,
        "guest": str(forward.guest_addr),
        "guest-port": forward.guest_port,
        "ports": forward.ports,
        "interface": forward.interface,
        "rule": forward.text,
    }


def guest_forward_members(port: UserPort, forward: GuestForward) -> dict[str, Any]:
    """A guestfwd rule: where guests find it, and where it leads to."""
    return {
        "netdev-id": port.id,
        "type": "guestfwd",
        "protocol": forward.proto,
        "server": str(forward.server),
        "server-port": forward.port,
        "target": target_text(forward),
        "rule": forward.text,
    }


async def query_forwards(context: Context) -> list[dict[str, Any]]:
    """Every forward of every user network, in both directions."""
    found = []
    for port in user_ports(context.network):
        found += [forward_members(port, forward) for forward in port.forwards]
        found += [guest_forward_members(port, forward) for forward in port.guest_forwards.rules]
    return found


def is_guestfwd(kind: str) -> bool:
    """Which kind of forward is meant. Raises QmpError for one there is not."""
    if kind not in ("hostfwd", "guestfwd"):
        raise QmpError(f"Parameter 'type' does not accept value '{kind}'")
    return kind == "guestfwd"


async def forward_add(
    context: Context,
    rule: str,
    netdev_id: str | None = None,
    type: str = "hostfwd",  # noqa: A002
) -> dict[str, Any]:
    """Open a forward, `rule` as `hostfwd=` or `guestfwd=` takes it; the answer tells what was opened."""
    port = user_port(context.network, netdev_id)
    if is_guestfwd(type):
        return guest_forward_members(port, await port.guest_forwards.add(rule))
    return forward_members(port, await port.add_forward(rule))


async def forward_remove(
    context: Context,
    rule: str,
    netdev_id: str | None = None,
    type: str = "hostfwd",  # noqa: A002
) -> dict[str, Any]:
    """Close a forward, named by its rule or by where it listens."""
    port = user_port(context.network, netdev_id)
    if is_guestfwd(type):
        await port.guest_forwards.remove(rule)
    else:
        await port.remove_forward(rule)
    return {}


CHANGE = {"rule": "string", "netdev-id": "string?", "type": "string?"}

COMMANDS = (
    Command("wirebay-query-forwards", query_forwards, {}),
    Command("wirebay-forward-add", forward_add, CHANGE),
    Command("wirebay-forward-remove", forward_remove, CHANGE),
)
