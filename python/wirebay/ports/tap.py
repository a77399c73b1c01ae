"""tap and bridge: a TAP device of the kernel, in this network namespace or another.

The device comes from one of five places: opened by the caller (`Tap`), inherited (`fd=`), opened in another
namespace (`netns=`), made by a helper (`helper=`, and always with `bridge`), or opened here (`ifname=`). Only
the last is configured by scripts, as in QEMU. The worker gets the descriptor and the offloads that the kernel
took for it; ours is closed then, so that the interface goes when the worker does. With a script to run at the
end a second one stays open until that has run.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from wirebay.options.link_types import BridgeOptions, TapOptions
from wirebay.ports.base import Port
from wirebay.ports.tap_scripts import IFDOWN, IFUP, run_helper, run_script, script_to_run
from wirebay.tun import Tap, adopt_tap, open_tap, set_send_buffer

if TYPE_CHECKING:
    from wirebay.network import Network
    from wirebay.options.types import Netdev

# The kernel holds frames to the interface's MTU itself, and its owner may change that at any time.
MAX_MTU = 65535


class DevicePort(Port):
    """A TAP device, wherever it comes from; `device` is the name of its interface, `mtu` its MTU in bytes."""

    def __init__(self, network: Network, options: Netdev, mtu: int = MAX_MTU) -> None:
        super().__init__(network, options)
        self.mtu = mtu
        self.device: str | None = None

    async def _add(self, tap: Tap) -> None:
        """Give the worker a device, which is taken over."""
        self.device = tap.name
        try:
            await self._add_to_worker("tap_add", fds=[tap.fd], offloads=tap.offloads, mtu=self.mtu)
        finally:
            os.close(tap.fd)


class TapPort(DevicePort):
    """A TAP device as the options name it; `tap` is one that the caller opened, which is taken over."""

    kind = "tap"

    def __init__(
        self, network: Network, options: TapOptions, *, tap: Tap | None = None, mtu: int = MAX_MTU
    ) -> None:
        super().__init__(network, options, mtu)
        self.options = options
        self.device = tap.name if tap else options.ifname
        self._tap = tap

    def describe(self) -> str:
        """One line for people: the interface and where it is."""
        place = f" in {self.options.netns}" if self.options.netns else ""
        return f"{self.id}: tap {self.device}{place}"

    async def open(self) -> None:
        """Open the device where that is not done yet. Raises HostError in one sentence with the remedy."""
        options = self.options
        opened_here = self._tap is None and options.fd is None and options.netns is None
        tap = self._tap or await find_tap(options)
        try:
            set_send_buffer(tap.fd, options.sndbuf)
            if opened_here and options.helper is None:
                await self._run_scripts(tap)
        except BaseException:
            os.close(tap.fd)
            raise
        await self._add(tap)

    async def _run_scripts(self, tap: Tap) -> None:
        """Run the script for the start, and arrange for the one for the end."""
        up = script_to_run(self.options.script, IFUP)
        if up is not None:
            await run_script(up, tap.name)
        down = script_to_run(self.options.downscript, IFDOWN)
        if down is not None:
            held = os.dup(tap.fd)
            self._teardown.add(lambda: os.close(held))
            self._teardown.add(lambda: run_script(down, tap.name))


class BridgePort(DevicePort):
    """A TAP on a bridge of the host, made by QEMU's helper."""

    kind = "bridge"

    def __init__(self, network: Network, options: BridgeOptions) -> None:
        super().__init__(network, options)
        self.options = options

    def describe(self) -> str:
        """One line for people: the interface and its bridge."""
        return f"{self.id}: tap {self.device} on bridge {self.options.br}"

    async def open(self) -> None:
        """Have the helper make the device. Raises HostError when it does not."""
        fd = await run_helper(self.options.helper, self.options.br)
        await self._add(adopted(fd))


async def find_tap(options: TapOptions) -> Tap:
    """The device that the options name."""
    if options.fd is not None:
        return adopt_tap(options.fd, vnet_hdr=options.vnet_hdr)
    if options.netns is not None:
        from wirebay.netns import open_tap_in

        return open_tap_in(options.netns, options.ifname, vnet_hdr=options.vnet_hdr)
    if options.helper is not None:
        return adopted(await run_helper(options.helper, options.br))
    return open_tap(options.ifname, vnet_hdr=options.vnet_hdr)


def adopted(fd: int) -> Tap:
    """A device that was made for us; closed when it is none."""
    try:
        return adopt_tap(fd)
    except BaseException:
        os.close(fd)
        raise
