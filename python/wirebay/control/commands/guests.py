"""What is known of guests, and whether they answer."""

from __future__ import annotations

import math
from typing import Any

from wirebay.control.commands.forwards import user_port, user_ports
from wirebay.control.table import Command, Context, QmpError
from wirebay.ports.guests import PAYLOAD, PING_TIMEOUT, NoAnswerError

__all__ = ["COMMANDS"]

MAX_WAIT = 60.0  # seconds; the client's next command waits as long


async def query_leases(context: Context) -> list[dict[str, Any]]:
    """Every DHCP lease in force; `expires` in seconds from now, null for a lease without end."""
    return [
        {
            "netdev-id": port.id,
            "mac": lease.mac.hex(":"),
            "address": str(lease.address),
            "name": lease.name,
            "expires": None if math.isinf(lease.remaining) else round(lease.remaining),
        }
        for port in user_ports(context.network)
        for lease in port.addresses.leases
    ]


async def ping(
    context: Context,
    netdev_id: str | None = None,
    address: str | None = None,
    timeout: float = PING_TIMEOUT,  # noqa: ASYNC109 - the argument's name
    size: int = PAYLOAD,
) -> dict[str, Any]:
    """Ping a guest once; `time` is in seconds."""
    if not 0 < timeout <= MAX_WAIT:
        raise QmpError(f"Parameter 'timeout' expects a number of seconds, at most {MAX_WAIT:g}")
    if size < 0:
        raise QmpError("Parameter 'size' expects a number of bytes")
    port = user_port(context.network, netdev_id)
    try:
        pong = await port.ping(address, within=timeout, size=size)
    except NoAnswerError as error:
        raise QmpError(str(error), "DeviceNotActive") from None
    return {"address": pong.address, "time": pong.seconds, "ttl": pong.ttl, "size": size}


COMMANDS = (
    Command("wirebay-query-leases", query_leases, {}),
    Command(
        "wirebay-ping",
        ping,
        {"netdev-id": "string?", "address": "string?", "timeout": "number?", "size": "integer?"},
    ),
)
