"""What crosses a user network, conversation by conversation."""

from __future__ import annotations

from typing import Any

from wirebay.control.commands.forwards import user_port
from wirebay.control.table import Command, Context, QmpError
from wirebay.ports.flows import Flow

__all__ = ["COMMANDS"]

MOST = 256  # flows of one page
PLACES = range(1 << 32)


async def query_flows(
    context: Context, netdev_id: str | None = None, start: int = 0, limit: int = MOST
) -> dict[str, Any]:
    """A page of flows from `start` on; `next` is where the next page starts, null if this was the last."""
    if limit not in range(1, MOST + 1):
        raise QmpError(f"Parameter 'limit' expects a number from 1 to {MOST}")
    if start not in PLACES:
        raise QmpError("Parameter 'start' expects what a page before had as 'next'")
    page = await user_port(context.network, netdev_id).flows(start, limit)
    return {"flows": [members(flow) for flow in page.flows], "next": page.next}


def members(flow: Flow) -> dict[str, Any]:
    """A flow as it is told. `age` is in seconds; `peer` null is a mapping that may talk to anybody."""
    peer, peer_port = flow.peer or (None, None)
    return {
        "protocol": flow.proto,
        "state": flow.state,
        "guest": flow.guest[0],
        "guest-port": flow.guest[1],
        "peer": peer,
        "peer-port": peer_port,
        "from-guest": flow.from_guest,
        "to-guest": flow.to_guest,
        "age": flow.age,
    }


COMMANDS = (
    Command("query-flows", query_flows, {"netdev-id": "string?", "start": "integer?", "limit": "integer?"}),
)
