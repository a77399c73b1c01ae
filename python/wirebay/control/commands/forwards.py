"""Forwards from the host to guests: listed, added and removed while they are used."""

from __future__ import annotations

from typing import Any

from wirebay.control.table import Command, Context, QmpError, device_not_found
from wirebay.network import Network
from wirebay.options.types import HostForward
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
    """One forward. The host port is the one that is really open; of a unix socket `host` is the path."""
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


async def query_forwards(context: Context) -> list[dict[str, Any]]:
    """Every forward of every user network."""
    return [
        forward_members(port, forward) for port in user_ports(context.network) for forward in port.forwards
    ]


async def forward_add(context: Context, rule: str, netdev_id: str | None = None) -> dict[str, Any]:
    """Open a forward, `rule` as `hostfwd=` takes it; the answer tells what was opened."""
    port = user_port(context.network, netdev_id)
    return forward_members(port, await port.add_forward(rule))


async def forward_remove(context: Context, rule: str, netdev_id: str | None = None) -> dict[str, Any]:
    """Close a forward, named by its rule or by `[tcp|udp]:[hostip]:hostport`."""
    await user_port(context.network, netdev_id).remove_forward(rule)
    return {}


COMMANDS = (
    Command("wirebay-query-forwards", query_forwards, {}),
    Command("wirebay-forward-add", forward_add, {"rule": "string", "netdev-id": "string?"}),
    Command("wirebay-forward-remove", forward_remove, {"rule": "string", "netdev-id": "string?"}),
)
