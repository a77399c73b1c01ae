"""tap: a TAP device of the kernel, in this network namespace or another.

The device comes from one of four places: opened by the caller (`Tap`), inherited (`fd=`), opened in another
namespace (`netns=`), or opened here (`ifname=`). The worker gets the descriptor and the offloads that the
kernel took for it; ours is closed then, so that the interface goes when the worker does.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from wirebay.options.types import TapOptions
from wirebay.ports.base import Port
from wirebay.tun import Tap, adopt_tap, open_tap

if TYPE_CHECKING:
    from wirebay.network import Network

# The kernel holds frames to the interface's MTU itself, and its owner may change that at any time.
MAX_MTU = 65535


class TapPort(Port):
    """A TAP device; `device` is the name of its interface.

    `tap` is one that the caller opened; it is taken over. `mtu` is that of the interface, in bytes.
    """

    kind = "tap"

    def __init__(
        self, network: Network, options: TapOptions, *, tap: Tap | None = None, mtu: int = MAX_MTU
    ) -> None:
        super().__init__(network, options)
        self.options = options
        self.mtu = mtu
        self.device = tap.name if tap else options.ifname
        self._tap = tap

    def describe(self) -> str:
        """One line for people: the interface and where it is."""
        place = f" in {self.options.netns}" if self.options.netns else ""
        return f"{self.id}: tap {self.device}{place}"

    async def open(self) -> None:
        """Open the device where that is not done yet. Raises HostError in one sentence with the remedy."""
        tap = self._tap or find_tap(self.options)
        self.device = tap.name
        try:
            await self._add_to_worker("tap_add", fds=[tap.fd], offloads=tap.offloads, mtu=self.mtu)
        finally:
            os.close(tap.fd)


def find_tap(options: TapOptions) -> Tap:
    """The device that the options name."""
    if options.fd is not None:
        return adopt_tap(options.fd, vnet_hdr=options.vnet_hdr)
    if options.netns is not None:
        from wirebay.netns import open_tap_in

        return open_tap_in(options.netns, options.ifname, vnet_hdr=options.vnet_hdr)
    return open_tap(options.ifname, vnet_hdr=options.vnet_hdr)
