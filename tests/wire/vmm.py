"""A virtual machine monitor made of Python: the front end of vhost-user, with a guest's memory and rings.

Requests by number as the vhost-user specification has them; what a test wants wrong, it sends wrong.
"""

from __future__ import annotations

import asyncio
import mmap
import os
import socket
import struct
from typing import Self

from tests.wire.split_ring import BUFFER, LENGTH, NEXT, PATIENCE, SIZE, WRITE, Ring
from wirebay.network import Network
from wirebay.ports import Port

PAGES = 4096
GUEST_BASE, USER_BASE = 0x4000_0000, 0x7F00_0000_0000

GET_FEATURES, SET_FEATURES, SET_OWNER, SET_MEM_TABLE = 1, 2, 3, 5
SET_VRING_NUM, SET_VRING_ADDR, SET_VRING_BASE, GET_VRING_BASE = 8, 9, 10, 11
SET_VRING_KICK, SET_VRING_CALL, SET_VRING_ERR = 12, 13, 14
GET_PROTOCOL_FEATURES, SET_PROTOCOL_FEATURES, GET_QUEUE_NUM, SET_VRING_ENABLE = 15, 16, 17, 18
NET_SET_MTU, RESET_DEVICE, GET_MAX_MEM_SLOTS, ADD_MEM_REG, REM_MEM_REG = 20, 34, 36, 37, 38
PROTOCOLS = 1 << 0 | 1 << 3 | 1 << 4 | 1 << 13 | 1 << 15  # MQ, REPLY_ACK, MTU, RESET_DEVICE, MEM_SLOTS
CSUM, GUEST_CSUM, GUEST_TSO4, HOST_TSO4, MRG_RXBUF = 1 << 0, 1 << 1, 1 << 7, 1 << 11, 1 << 15
MTU, EVENT_IDX, PROTOCOL, VERSION_1 = 1 << 3, 1 << 29, 1 << 30, 1 << 32
PLAIN = PROTOCOL | VERSION_1 | MRG_RXBUF
OFFLOADS = PLAIN | CSUM | GUEST_CSUM | GUEST_TSO4 | HOST_TSO4


class Vmm:
    """The monitor and its guest: rings with even numbers receive, those after them send."""

    def __init__(self, sock: socket.socket, features: int, *, pairs: int = 1) -> None:
        self.sock, self.features = sock, features
        sock.setblocking(False)
        self.memfd = os.memfd_create("guest")
        self.size = 2 * pairs * LENGTH // PAGES * PAGES + PAGES
        os.ftruncate(self.memfd, self.size)
        self.memory = mmap.mmap(self.memfd, self.size)
        event_idx = bool(features & EVENT_IDX)
        self.rings = [Ring(self.memory, i * LENGTH, event_idx=event_idx) for i in range(2 * pairs)]

    @classmethod
    async def on(
        cls, network: Network, name: str, path: str, features: int = OFFLOADS, *, pairs: int = 1
    ) -> tuple[Self, Port]:
        """A guest that has started, behind a port of its own."""
        port = await network.add("vhost-user", id=name, path=path)
        vmm = cls(await dial(path), features, pairs=pairs)
        await vmm.start()
        return vmm, port

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()
        self.memory.close()
        os.close(self.memfd)
        for ring in self.rings:
            ring.close()

    async def request(self, number: int, payload: bytes = b"", fds: list[int] | None = None) -> None:
        """Send a request that has no answer of its own, and see that it was carried out."""
        answer = await self.ask(number, payload, fds, flags=1 | 8)
        assert answer == bytes(8), f"request {number} failed"

    async def ask(
        self, number: int, payload: bytes = b"", fds: list[int] | None = None, flags: int = 1
    ) -> bytes:
        """Send a request and return its answer."""
        self.send(struct.pack("=III", number, flags, len(payload)) + payload, fds)
        async with asyncio.timeout(PATIENCE):
            header = await self._receive(12)
            answered, _, length = struct.unpack("=III", header)
            assert answered == number
            return await self._receive(length)

    def send(self, data: bytes, fds: list[int] | None = None) -> None:
        """Bytes as they are."""
        socket.send_fds(self.sock, [data], fds or [])

    async def _receive(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = await asyncio.get_running_loop().sock_recv(self.sock, size - len(data))
            if not more:
                raise EOFError
            data += more
        return data

    async def start(self) -> None:
        """Negotiate, share the memory, and set all rings up."""
        await self.negotiate()
        await self.share()
        for index in range(len(self.rings)):
            await self.set_up(index)

    async def resume(self, sock: socket.socket) -> None:
        """Connect again by another socket, for the guest that goes on as if nothing had been."""
        self.sock.close()
        self.sock = sock
        await self.negotiate()
        await self.share()
        for index, ring in enumerate(self.rings):
            await self.set_up(index, struct.unpack_from("<H", self.memory, ring.used + 2)[0])

    async def negotiate(self) -> None:
        """Agree on all features."""
        (offered,) = struct.unpack("=Q", await self.ask(GET_FEATURES))
        assert self.features & ~offered == 0
        (protocols,) = struct.unpack("=Q", await self.ask(GET_PROTOCOL_FEATURES))
        assert PROTOCOLS & ~protocols == 0
        self.send(struct.pack("=IIIQ", SET_PROTOCOL_FEATURES, 1, 8, PROTOCOLS))
        await self.request(SET_OWNER)
        await self.request(SET_FEATURES, struct.pack("=Q", self.features))

    async def share(self) -> None:
        """Tell of the memory."""
        table = struct.pack("=IIQQQQ", 1, 0, GUEST_BASE, self.size, USER_BASE, 0)
        await self.request(SET_MEM_TABLE, table, [self.memfd])

    def region(self, start: int, length: int) -> bytes:
        """A part of the memory, as requests about one region tell it."""
        return struct.pack("=QQQQQ", 0, GUEST_BASE + start, length, USER_BASE + start, start)

    async def set_up(self, index: int, base: int = 0) -> None:
        """Tell of a ring, and let it work."""
        ring = self.rings[index]
        places = (USER_BASE + place for place in (ring.table, ring.used, ring.available))
        await self.request(SET_VRING_NUM, struct.pack("=II", index, SIZE))
        await self.request(SET_VRING_BASE, struct.pack("=II", index, base))
        await self.request(SET_VRING_ADDR, struct.pack("=IIQQQQ", index, 0, *places, 0))
        await self.request(SET_VRING_CALL, struct.pack("=Q", index), [ring.call])
        await self.request(SET_VRING_ERR, struct.pack("=Q", index), [ring.error])
        await self.request(SET_VRING_KICK, struct.pack("=Q", index), [ring.kick])
        await self.request(SET_VRING_ENABLE, struct.pack("=II", index, 1))

    def offer(self, count: int = SIZE, length: int = BUFFER, *, ring: int = 0) -> None:
        """Give the device buffers to receive into."""
        given = self.rings[ring]
        for index in range(count):
            given.describe(index, GUEST_BASE + given.buffer(index), length, WRITE)
        given.add(*range(count))

    async def transmit(self, frame: bytes, header: bytes = bytes(12), *, number: int = 1) -> None:
        """Send a frame of at most two buffers, header and frame apart, and wait until it was taken."""
        ring = self.rings[number]
        data = ring.buffers
        self.memory[data : data + 12] = header
        self.memory[data + 12 : data + 12 + len(frame)] = frame
        ring.describe(0, GUEST_BASE + data, 12, NEXT, 1)
        ring.describe(1, GUEST_BASE + data + 12, len(frame), 0)
        ring.add(0)
        await ring.returned()

    async def receive(self, ring: int = 0) -> tuple[bytes, bytes]:
        """The next frame: its header, and the bytes."""
        header, frame, _ = await self.receive_chains(self.rings[ring])
        return header, frame

    async def receive_chains(self, ring: Ring) -> tuple[bytes, bytes, list[int]]:
        """The next frame: its header, the bytes, and the buffers it was in."""
        data, chains = b"", 1
        heads: list[int] = []
        while len(heads) < chains:
            head, length = await ring.returned()
            heads.append(head)
            data += self.memory[ring.buffer(head) : ring.buffer(head) + length]
            (chains,) = struct.unpack_from("<H", data, 10)
        return data[:12], data[12:], heads

    async def hung_up(self) -> bool:
        """Wait until the port ends the connection."""
        try:
            while await asyncio.get_running_loop().sock_recv(self.sock, 4096):
                pass
        except ConnectionResetError:
            pass
        return True


async def dial(path: str) -> socket.socket:
    """Connect to a port's socket."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, path)
    return sock
