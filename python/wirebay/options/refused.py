"""Netdev types of QEMU's that Wirebay is not: what is said instead of serving them."""

from __future__ import annotations

from collections.abc import Mapping

from wirebay.errors import OptionError

# What is nearest to each.
INSTEAD: Mapping[str, str] = {
    "af-xdp": "use tap, which has the kernel's offloads, or a stream socket",
    "netmap": "use tap, which has the kernel's offloads, or a stream socket",
    "vhost-vdpa": "use tap for the host's network, or pass the device to QEMU itself",
    "vmnet-bridged": "it is macOS's; use bridge, or tap with br=",
    "vmnet-host": "it is macOS's; use user with restrict=on, or tap",
    "vmnet-shared": "it is macOS's; use user",
}


def refuse(kind: str) -> OptionError:
    """What to raise for one of the types in INSTEAD: QEMU's sentence, and the way out."""
    return OptionError(f"network backend '{kind}' is not compiled into this binary: {INSTEAD[kind]}")
