"""hubport: QEMU's way to plug a port into a numbered hub.

A hub is made when it is first named and stays. `netdev=` names the port to plug in. Two hubports on one
port make QEMU abort (SIGABRT); here the second is refused. A hubport without `netdev=` waits in QEMU for a
card; there are no cards here, so it stays empty, with QEMU's warning.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from wirebay.errors import OptionError
from wirebay.ports.base import Port

if TYPE_CHECKING:
    from wirebay.network import Network
    from wirebay.options.types import HubportOptions

logger = logging.getLogger("wirebay")


class PlacePort(Port):
    """A place on a segment; `peer` is the port plugged in there."""

    peer: Port | None = None

    async def _plug(self, peer: Port | None, join: Callable[[Port], Awaitable[None]]) -> None:
        """Plug the peer in. Raises OptionError when it is on a segment already."""
        if peer is None:
            logger.warning("netdev %s has no peer", self.id)
            return
        await join(peer)
        self.peer = peer
        self._teardown.add(self._unplug)

    def _find_peer(self, name: str | None) -> Port | None:
        if name is None:
            return None
        peer = self.network.ports.get(name)
        if peer is None or peer is self:
            raise OptionError(f"netdev '{name}' not found")
        if isinstance(peer, PlacePort):
            raise OptionError(f"netdev '{name}' is a {peer.kind}: hubs cannot be joined to each other")
        for other in self.network.ports.values():
            if isinstance(other, PlacePort) and other.peer is peer:
                raise OptionError(f"netdev '{name}' is already on {other.kind} '{other.id}'")
        return peer

    async def _unplug(self) -> None:
        if self.peer is not None and self.peer.hub is not None and not self.network.closing:
            await self.peer.hub.leave(self.peer)
        self.peer = None


class HubportPort(PlacePort):
    """A place on a numbered hub."""

    kind = "hubport"

    def __init__(self, network: Network, options: HubportOptions) -> None:
        super().__init__(network, options)
        self.options = options

    def describe(self) -> str:
        """One line for people: which port, which hub."""
        hub = self.peer.hub if self.peer else None
        name = hub.name.removeprefix("hub") if hub else self.options.hubid  # it may have been moved
        return f"{self.id}: {self.options.netdev or 'nothing'} on hub {name}"

    async def open(self) -> None:
        """Plug the peer in. Raises OptionError when there is no such port, or when it is on a hub already."""
        peer = self._find_peer(self.options.netdev)
        hub = await self.network.hub(hub_name(self.options.hubid))
        await self._plug(peer, hub.join)


def hub_name(hubid: int) -> str:
    """The name of QEMU's numbered hub among the named ones."""
    return f"hub{hubid}"
