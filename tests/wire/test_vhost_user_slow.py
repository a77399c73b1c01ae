"""A guest that makes room for what it receives only when it must: nothing is lost or stands still."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.wire.guest import GATEWAY, Guest
from tests.wire.packets import checksum
from tests.wire.split_ring import WRITE
from tests.wire.vmm import EVENT_IDX, GUEST_BASE, GUEST_TSO4, OFFLOADS, PLAIN, Vmm
from wirebay.network import Network

pytestmark = pytest.mark.anyio

SIZE = 200_000
DATA = bytes(range(256)) * (SIZE // 256)


class SlowGuest(Guest):
    """A guest behind vhost-user with `count` buffers of `length` bytes.

    Used buffers are given back, `step` at a time, only when it has nothing else to do but wait.
    """

    def __init__(self, vmm: Vmm, count: int, length: int, step: int) -> None:
        super().__init__(vmm.sock)
        self.vmm, self.step, self.length = vmm, step, length
        self.used: list[int] = []
        vmm.offer(count, length)

    async def send(self, frame: bytes) -> None:
        await self.vmm.transmit(frame)

    async def receive(self) -> bytes:
        """The next frame, its buffers kept; they are given back once none has returned."""
        ring = self.vmm.rings[0]
        async with asyncio.timeout(10):
            while not ring.has_returned() and self.used:
                back, self.used = self.used[: self.step], self.used[self.step :]
                for head in back:
                    ring.describe(head, GUEST_BASE + ring.buffer(head), self.length, WRITE)
                ring.add(*back)
                # The worker's answer may need more than we gave: then it does not answer.
                await asyncio.sleep(0.001)
            header, frame, heads = await self.vmm.receive_chains(ring)
        self.used += heads
        return with_checksum(header, frame)


def with_checksum(header: bytes, frame: bytes) -> bytes:
    """The frame with the checksum that its header says is left to do (virtio 1.2 section 5.1.6.4)."""
    flags, start, offset = struct.unpack_from("<B5xHH", header)
    if not flags & 1:
        return frame
    at = start + offset
    return frame[:at] + struct.pack("!H", checksum(frame[start:])) + frame[at + 2 :]


@contextmanager
def server() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        yield listener


@pytest.mark.parametrize("event_idx", [0, EVENT_IDX], ids=["flags", "event index"])
@pytest.mark.parametrize(
    ("offloads", "count", "length", "step"),
    [
        (PLAIN, 64, 1526, 64),
        (PLAIN, 2, 2048, 1),
        (PLAIN, 16, 256, 1),
        (PLAIN, 64, 256, 3),
        (OFFLOADS, 64, 1526, 1),
        (OFFLOADS & ~GUEST_TSO4, 20, 1526, 5),
    ],
    ids=["whole ring", "two buffers", "small buffers", "many small", "super-segments", "checksums"],
)
async def test_a_download_by_a_slow_guest_loses_nothing_and_never_stands_still(
    network: Network, tmp_path: Path, event_idx: int, offloads: int, count: int, length: int, step: int
) -> None:
    vmm, port = await Vmm.on(network, "vm0", str(tmp_path / "vm0.sock"), offloads | event_idx)
    await network.join(port, await network.add("user", id="u0", ipv6=False))
    with vmm, server() as listener:
        guest = SlowGuest(vmm, count, length, step)
        await guest.announce()
        loop = asyncio.get_running_loop()
        accepting = asyncio.ensure_future(loop.sock_accept(listener))
        connection = await guest.connect(GATEWAY, listener.getsockname()[1])
        peer, _ = await accepting
        peer.setblocking(False)
        with peer:
            sending = asyncio.ensure_future(loop.sock_sendall(peer, DATA))
            assert await connection.receive(len(DATA)) == DATA
            await sending
        assert (await network.stats())["ports"][port.id]["drops"] == {}
