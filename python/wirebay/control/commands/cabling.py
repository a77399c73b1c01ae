"""Ports with their counters, their links, and the segments they are on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from wirebay.control.table import Command, Context, QmpError, device_not_found
from wirebay.network import Network
from wirebay.ports import Port

__all__ = ["COMMANDS"]

_NUMBERED = re.compile(r"hub(0|[1-9][0-9]*)")
COUNTERS = ("rx_frames", "rx_bytes", "tx_frames", "tx_bytes")


async def query_netdev(context: Context, netdev_id: str | None = None) -> list[dict[str, Any]]:
    """Every port, or one, with what has passed it; `flows` is there for user networks."""
    ports = dict(context.network.ports)
    if netdev_id is not None:
        ports = {netdev_id: find(context.network, netdev_id)}
    counters = (await context.network.stats())["ports"]
    return [members(port, counters.get(port.id, {})) for port in ports.values()]


def members(port: Port, counters: Mapping[str, Any]) -> dict[str, Any]:
    """A port as it is told; one that has just gone, or is a hubport, has counted nothing."""
    told: dict[str, Any] = {"id": port.id, "type": port.kind, "hub": port.hub.name if port.hub else None}
    told["link"] = port.link
    told |= {name.replace("_", "-"): counters.get(name, 0) for name in COUNTERS}
    told["drops"] = counters.get("drops", {})
    if "flows" in counters:
        told["flows"] = counters["flows"]
    return told


async def set_link(context: Context, name: str, up: bool) -> dict[str, Any]:
    """Let the link of a port go up or down."""
    await find(context.network, name).set_link(up)
    return {}


async def port_move(context: Context, netdev_id: str, hub: str) -> dict[str, Any]:
    """Take a port from its hub to another: one that is there, or one of the numbered ones."""
    network = context.network
    port = find(network, netdev_id)
    if hub not in network.hubs and not _NUMBERED.fullmatch(hub):
        raise QmpError(f"there is no hub '{hub}'; name one of {', '.join(network.hubs) or 'hub0, hub1 ...'}")
    await network.move(port, hub)
    return {}


def find(network: Network, name: str) -> Port:
    """The port of this id. Raises QmpError."""
    if (port := network.ports.get(name)) is None:
        raise device_not_found(name)
    return port


COMMANDS = (
    Command("set_link", set_link, {"name": "string", "up": "boolean"}),
    Command("query-netdev", query_netdev, {"netdev-id": "string?"}),
    Command("wirebay-port-move", port_move, {"netdev-id": "string", "hub": "string"}),
)
