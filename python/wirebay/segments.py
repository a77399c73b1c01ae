"""Segments: what joins ports. A hub repeats, a switch learns; the worker does both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from wirebay.errors import OptionError

if TYPE_CHECKING:
    from wirebay.network import Network
    from wirebay.ports import Port

# Ports that are only a place on a segment for another one.
PLACES = ("hubport", "switchport")

VlanRanges = Sequence[tuple[int, int]]


class Hub:
    """A segment that repeats every frame of a port to all its other ports, as QEMU's hub does."""

    kind: ClassVar[str] = "hub"

    def __init__(self, network: Network, name: str) -> None:
        self.network = network
        self.name = name

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}: {', '.join(port.id for port in self.ports)}>"

    @property
    def ports(self) -> list[Port]:
        """The ports plugged in, in the order they were added to the network."""
        return [port for port in self.network.ports.values() if port.hub is self]

    async def join(self, port: Port) -> None:
        """Plug `port` in. Raises OptionError when it is on a segment already."""
        await self._join(port)

    async def join_like(self, port: Port, other: Port) -> None:
        """Plug `port` in as `other` is plugged in here: in the same VLANs, isolated or not."""
        await self._join(port, **other.place)

    async def _join(self, port: Port, **options: Any) -> None:
        refuse_if_plugged(port)
        await self.network.worker.call("join", hub=self.name, port=port.id, **options)
        port.hub, port.place = self, options
        await port.moved()

    async def leave(self, port: Port) -> None:
        """Unplug `port`. Raises OptionError when it is not on this segment."""
        if port.hub is not self:
            raise OptionError(f"port '{port.id}' is not on {self.kind} '{self.name}'")
        await self.network.worker.call("leave", port=port.id)
        port.hub = None
        await port.moved()

    async def close(self) -> None:
        """Remove the segment; its ports stay, unplugged."""
        await self.network.worker.call("hub_remove", hub=self.name)
        self.network.forget_hub(self)


class Switch(Hub):
    """A segment that learns where addresses are, and sends a frame to its destination only.

    It ages addresses after 300 s, snoops on IGMP and MLD, knows VLANs (IEEE 802.1Q) and isolated ports, and
    bounds what each port can make it remember (docs/netdev-switchport.md).
    """

    kind = "switch"

    async def join(
        self,
        port: Port,
        *,
        vlan: int | None = None,
        trunk: VlanRanges | None = None,
        isolated: bool = False,
    ) -> None:
        """Plug `port` in.

        `vlan` is the VLAN of its untagged frames, `trunk` ranges (first, last) of those it carries tagged;
        without either it takes everything as it is. An `isolated` port reaches only ports that are not.
        Raises OptionError when the port is on a segment already or a number is no VLAN (1 to 4094).
        """
        options: dict[str, Any] = {}
        if vlan is not None:
            options["vlan"] = vlan
        if trunk is not None:
            options["trunk"] = [list(pair) for pair in trunk]
        if isolated:
            options["isolated"] = True
        await self._join(port, **options)

    async def stats(self) -> dict[str, Any]:
        """What it knows: `addresses` ({mac, vlan, port, age in s}, at most 1000) and what became of others.

        `moved` to another port, `held` on theirs against another port, `evicted` over a port's quota.
        """
        return await self.network.worker.call("hub_stats", hub=self.name)


def refuse_if_plugged(port: Port) -> None:
    """Raise OptionError when `port` cannot be plugged in: it has a segment, or is a place on one itself."""
    if port.hub is not None:
        raise OptionError(f"port '{port.id}' is already on {port.hub.kind} '{port.hub.name}'")
    if port.kind in PLACES:
        raise OptionError(f"port '{port.id}' is a {port.kind}: name the port itself")
