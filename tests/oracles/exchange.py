"""Frames between two cards: all of them arrive, as they were sent."""

from __future__ import annotations

import socket

from tests.wire.guest import Guest
from tests.wire.packets import BROADCAST, ethernet
from wirebay.network import Network
from wirebay.ports import Port

# A protocol number for experiments (IEEE 802): nobody answers to it.
EXPERIMENT = 0x88B5
SIZES = (60, 61, 1514)


def frame(number: int, size: int = 60) -> bytes:
    """A frame that can be told from others."""
    start = ethernet(BROADCAST, bytes((2, 0, 0, 0, 0, number)), EXPERIMENT, b"")
    return (start + bytes(range(256)) * (size // 256 + 1))[:size]


async def heard(guest: Guest, sent: bytes) -> None:
    """Wait for this frame; what kernels say of themselves meanwhile is passed over."""
    while True:
        got = await guest.receive()
        if got[12:14] == EXPERIMENT.to_bytes(2, "big"):
            assert (len(got), got) == (len(sent), sent)
            return


async def both_ways(near: Guest, far: Guest, sizes: tuple[int, ...] = SIZES) -> None:
    """Frames of these sizes pass both ways."""
    for number, size in enumerate(sizes):
        await near.send(frame(number, size))
        await heard(far, frame(number, size))
        await far.send(frame(number + 100, size))
        await heard(near, frame(number + 100, size))


async def join(network: Network, port: Port) -> None:
    """Join the port to the card's."""
    await network.join(network.ports["near"], port)


def free_udp_ports(count: int, address: str = "127.0.0.1") -> list[int]:
    """UDP ports that were free a moment ago."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    socks = [socket.socket(family, socket.SOCK_DGRAM) for _ in range(count)]
    for sock in socks:
        sock.bind((address, 0))
    ports = [sock.getsockname()[1] for sock in socks]
    for sock in socks:
        sock.close()
    return ports
