"""netdev_add and netdev_del: ports that come and go while the network runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wirebay.control.table import Command, Context, QmpError, device_not_found
from wirebay.errors import WirebayError
from wirebay.network import Network
from wirebay.options.netdev import FdAddr, Netdev, StreamOptions, TapOptions, netdev_from_dict, parse_netdev
from wirebay.ports import Port
from wirebay.segments import PLACES

__all__ = ["COMMANDS"]


async def netdev_add(context: Context, given: Mapping[str, Any]) -> dict[str, Any]:
    """Add a port, given as `-netdev` takes it in JSON, and plug it in where that is no question."""
    await add(context.network, netdev_from_dict(given))
    return {}


async def netdev_add_text(context: Context, netdev: str) -> dict[str, Any]:
    """The same for a port that is given as the text of `-netdev`; `text` tells people what it is."""
    port = await add(context.network, parse_netdev(netdev))
    return {"id": port.id, "text": port.describe()}


async def add(network: Network, netdev: Netdev) -> Port:
    """Add a port and plug it in."""
    refuse_descriptor(netdev)
    if netdev.id in network.ports:
        raise QmpError(f"Duplicate ID '{netdev.id}'")
    port = await network.add(netdev)
    try:
        await plug_in(network, port)
    except WirebayError:
        await port.discard()
        raise
    return port


def refuse_descriptor(netdev: Netdev) -> None:
    """Raise QmpError for a descriptor: any number means one of ours, and a client can pass none."""
    fd: object = None
    if isinstance(netdev, TapOptions):
        fd = netdev.fd
    elif isinstance(netdev, StreamOptions) and isinstance(netdev.addr, FdAddr):
        fd = netdev.addr.fd
    if fd is not None:
        raise QmpError(f"File descriptor named '{fd}' has not been found")


async def plug_in(network: Network, port: Port) -> None:
    """Join the port where `wirebay serve` would have: on the one hub there is, if no hubport says how."""
    if any(other.kind in PLACES for other in network.ports.values()):
        return
    match list(network.hubs.values()):
        case [hub]:
            await hub.join(port)
        case [] if len(network.ports) > 1:
            await network.join(*network.ports.values())


async def netdev_del(context: Context, id: str) -> dict[str, Any]:  # noqa: A002 - QEMU's name
    """Remove a port."""
    port = context.network.ports.get(id)
    if port is None:
        raise device_not_found(id)
    await port.close()
    return {}


COMMANDS = (
    Command("netdev_add", netdev_add, None),
    Command("wirebay-netdev-add", netdev_add_text, {"netdev": "string"}),
    Command("netdev_del", netdev_del, {"id": "string"}),
)
