"""The events: what each is about and tells, for those who ask what there is (docs/control.md)."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

__all__ = ["EVENTS", "subject"]

#: The members of each event's data and their types; with a question mark they may be null.
EVENTS: Mapping[str, Mapping[str, str]] = {
    "NETDEV_STREAM_CONNECTED": {"netdev-id": "string", "addr": "address"},
    "NETDEV_STREAM_DISCONNECTED": {"netdev-id": "string"},
    "SHUTDOWN": {"guest": "boolean", "reason": "string"},
    "WIREBAY_LEASE": {"netdev-id": "string", "mac": "string", "address": "string", "name": "string?"},
    "WIREBAY_LOOP_BLOCKED": {"netdev-id": "string", "hub": "string", "seconds": "integer"},
    "WIREBAY_PORT_FAILED": {"netdev-id": "string", "reason": "string"},
    "WIREBAY_RELOADED": {"added": "any", "removed": "any", "replaced": "any", "updated": "any"},
    "WIREBAY_STORM_LIMITED": {"netdev-id": "string", "hub": "string"},
}


def subject(name: str, data: Mapping[str, Any]) -> Hashable:
    """What an event is about: of several about the same the newest tells enough."""
    return name, data.get("netdev-id"), data.get("mac")
