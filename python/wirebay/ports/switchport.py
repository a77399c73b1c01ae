"""switchport: a place on a named switch, in the manner of hubport. Ours: QEMU has no switch.

A switch is made when it is first named and stays. `netdev=` names the port to plug in; the other options say
which VLANs it is in, and whether it is isolated.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from wirebay.ports.hubport import PlacePort

if TYPE_CHECKING:
    from wirebay.network import Network
    from wirebay.options.types import SwitchportOptions


class SwitchportPort(PlacePort):
    """A place on a named switch."""

    kind = "switchport"

    def __init__(self, network: Network, options: SwitchportOptions) -> None:
        super().__init__(network, options)
        self.options = options

    def describe(self) -> str:
        """One line for people: which port, which switch, which VLANs."""
        options = self.options
        vlans = f", vlan {options.vlan}" if options.vlan is not None else ""
        if options.trunk is not None:
            ranges = (str(first) if first == last else f"{first}-{last}" for first, last in options.trunk)
            vlans += f", trunk {':'.join(ranges)}"
        isolated = ", isolated" if options.isolated else ""
        return f"{self.id}: {options.netdev or 'nothing'} on switch {options.switch}{vlans}{isolated}"

    async def open(self) -> None:
        """Plug the peer in. Raises OptionError when there is no such port, or when it is plugged in."""
        options = self.options
        peer = self._find_peer(options.netdev)
        switch = await self.network.switch(options.switch)
        join = partial(switch.join, vlan=options.vlan, trunk=options.trunk, isolated=options.isolated)
        await self._plug(peer, join)
