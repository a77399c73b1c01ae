"""Frames that can be told from each other, and cards joined to a port."""

from __future__ import annotations

import asyncio
import socket

from tests.wire.guest import PATIENCE, Guest
from tests.wire.packets import BROADCAST, ethernet
from wirebay.network import Network
from wirebay.ports import Port

# A protocol number for experiments (IEEE 802): nobody answers to it.
EXPERIMENT = 0x88B5


def frame(number: int, size: int = 60) -> bytes:
    """A frame that can be told from others."""
    start = ethernet(BROADCAST, bytes((2, 0, 0, 0, 0, number)), EXPERIMENT, b"")
    return (start + bytes(range(256)) * (size // 256 + 1))[:size]


async def beside(network: Network, port: Port) -> Guest:
    """A card on one hub with `port`."""
    guest, near = await Guest.on(network, "near")
    await network.join(port, near)
    return guest


async def datagram(sock: socket.socket) -> bytes:
    """The next datagram; raises TimeoutError when none comes."""
    sock.setblocking(False)
    async with asyncio.timeout(PATIENCE):
        return await asyncio.get_running_loop().sock_recv(sock, 1 << 17)


async def drops(network: Network, port: str) -> dict[str, int]:
    """What a port has dropped, by reason."""
    counted: dict[str, int] = (await network.stats())["ports"][port]["drops"]
    return counted
