"""The flows of a user network, as the worker lists them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Flow", "FlowPage", "read_page"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Flow:
    """One conversation between a guest and the world.

    `proto` is tcp, udp or icmp. `guest` and `peer` are addresses with ports, as the guest sees them; of icmp
    the guest's port is the identifier of its echo requests. `peer` None is a mapping that may talk to
    anybody. `from_guest` and `to_guest` count bytes of payload, `age` seconds. `state` is one of those in
    docs/protocol.md.
    """

    proto: str
    state: str
    guest: tuple[str, int]
    peer: tuple[str, int] | None
    from_guest: int
    to_guest: int
    age: float


@dataclass(frozen=True, kw_only=True, slots=True)
class FlowPage:
    """Some flows; `next` is where the next page begins, None if this was the last."""

    flows: tuple[Flow, ...]
    next: int | None


def read_page(reply: Mapping[str, Any]) -> FlowPage:
    """A page as the worker sends it."""
    return FlowPage(flows=tuple(map(_read_flow, reply["flows"])), next=reply["next"])


def _read_flow(members: Mapping[str, Any]) -> Flow:
    peer = members["peer"]
    return Flow(
        proto=members["proto"],
        state=members["state"],
        guest=(members["guest"], members["guest_port"]),
        peer=None if peer is None else (peer, members["peer_port"]),
        from_guest=members["from_guest"],
        to_guest=members["to_guest"],
        age=members["age_ms"] / 1000,
    )
