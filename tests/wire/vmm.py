"""A virtual machine monitor made of Python: the front end of vhost-user, with a guest's memory and rings.

The driver's side of split rings as virtio 1.2 section 2.7 has it, without indirect descriptors and without
event indexes; what a test wants wrong, it writes wrong.
"""

from __future__ import annotations

import asyncio
import mmap
import os
import socket
import struct
from typing import Self

from wirebay.network import Network
from wirebay.ports import Port

PATIENCE = 5.0
MEMORY = 1 << 20
GUEST_BASE, USER_BASE = 0x4000_0000, 0x7F00_0000_0000
SIZE = 64
BUFFER = 2048
NEXT, WRITE = 1, 2

GET_FEATURES, SET_FEATURES, SET_OWNER, SET_MEM_TABLE = 1, 2, 3, 5
SET_VRING_NUM, SET_VRING_ADDR, SET_VRING_BASE, GET_VRING_BASE = 8, 9, 10, 11
SET_VRING_KICK, SET_VRING_CALL = 12, 13
GET_PROTOCOL_FEATURES, SET_PROTOCOL_FEATURES, SET_VRING_ENABLE = 15, 16, 18
REPLY_ACK = 1 << 3
CSUM, GUEST_CSUM, GUEST_TSO4, HOST_TSO4, MRG_RXBUF = 1 << 0, 1 << 1, 1 << 7, 1 << 11, 1 << 15
PROTOCOL, VERSION_1 = 1 << 30, 1 << 32
PLAIN = PROTOCOL | VERSION_1 | MRG_RXBUF
OFFLOADS = PLAIN | CSUM | GUEST_CSUM | GUEST_TSO4 | HOST_TSO4


class Ring:
    """One split ring, `SIZE` entries at `base` of the memory, and a buffer of `BUFFER` bytes for each."""

    def __init__(self, memory: mmap.mmap, base: int) -> None:
        self.memory = memory
        self.table, self.available, self.used = base, base + 16 * SIZE, base + 16 * SIZE + 4096
        self.buffers = base + 16 * SIZE + 8192
        self.kick, self.call = os.eventfd(0, os.EFD_NONBLOCK), os.eventfd(0, os.EFD_NONBLOCK)
        self.added = self.seen = 0

    def describe(self, index: int, address: int, length: int, flags: int, following: int = 0) -> None:
        """Write a descriptor."""
        struct.pack_into("<QIHH", self.memory, self.table + 16 * index, address, length, flags, following)

    def buffer(self, index: int) -> int:
        """Where the buffer of a descriptor lies in the memory."""
        return self.buffers + BUFFER * index

    def add(self, head: int) -> None:
        """Make a chain available, and kick."""
        struct.pack_into("<H", self.memory, self.available + 4 + 2 * (self.added % SIZE), head)
        self.added += 1
        struct.pack_into("<H", self.memory, self.available + 2, self.added & 0xFFFF)
        os.eventfd_write(self.kick, 1)

    async def returned(self) -> tuple[int, int]:
        """The next chain that came back: its head, and how many bytes were written."""
        async with asyncio.timeout(PATIENCE):
            while struct.unpack_from("<H", self.memory, self.used + 2)[0] == self.seen & 0xFFFF:
                await readable(self.call)
        head, length = struct.unpack_from("<II", self.memory, self.used + 4 + 8 * (self.seen % SIZE))
        self.seen += 1
        return head, length


async def readable(fd: int) -> None:
    """Wait until an eventfd counts, and reset it."""
    loop, event = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(fd, event.set)
    try:
        await event.wait()
        os.eventfd_read(fd)
    finally:
        loop.remove_reader(fd)


class Vmm:
    """The monitor and its guest: ring 0 receives, ring 1 sends."""

    def __init__(self, sock: socket.socket, features: int) -> None:
        self.sock, self.features = sock, features
        sock.setblocking(False)
        self.memfd = os.memfd_create("guest")
        os.ftruncate(self.memfd, MEMORY)
        self.memory = mmap.mmap(self.memfd, MEMORY)
        self.rings = [Ring(self.memory, 0), Ring(self.memory, MEMORY // 2)]

    @classmethod
    async def on(cls, network: Network, name: str, path: str, features: int = OFFLOADS) -> tuple[Self, Port]:
        """A guest that has started, behind a port of its own."""
        port = await network.add("vhost-user", id=name, path=path)
        vmm = cls(await dial(path), features)
        await vmm.start()
        return vmm, port

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()
        self.memory.close()
        for fd in (self.memfd, *(fd for ring in self.rings for fd in (ring.kick, ring.call))):
            os.close(fd)

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
        """Negotiate, share the memory, and set both rings up."""
        (offered,) = struct.unpack("=Q", await self.ask(GET_FEATURES))
        assert self.features & ~offered == 0
        await self.ask(GET_PROTOCOL_FEATURES)
        self.send(struct.pack("=IIIQ", SET_PROTOCOL_FEATURES, 1, 8, REPLY_ACK))
        await self.request(SET_OWNER)
        await self.request(SET_FEATURES, struct.pack("=Q", self.features))
        await self.share()
        for index in range(len(self.rings)):
            await self.set_up(index)

    async def share(self) -> None:
        """Tell of the memory."""
        table = struct.pack("=IIQQQQ", 1, 0, GUEST_BASE, MEMORY, USER_BASE, 0)
        await self.request(SET_MEM_TABLE, table, [self.memfd])

    async def set_up(self, index: int, base: int = 0) -> None:
        """Tell of a ring, and let it work."""
        ring = self.rings[index]
        places = (USER_BASE + place for place in (ring.table, ring.used, ring.available))
        await self.request(SET_VRING_NUM, struct.pack("=II", index, SIZE))
        await self.request(SET_VRING_BASE, struct.pack("=II", index, base))
        await self.request(SET_VRING_ADDR, struct.pack("=IIQQQQ", index, 0, *places, 0))
        await self.request(SET_VRING_CALL, struct.pack("=Q", index), [ring.call])
        await self.request(SET_VRING_KICK, struct.pack("=Q", index), [ring.kick])
        await self.request(SET_VRING_ENABLE, struct.pack("=II", index, 1))

    def offer(self, count: int = SIZE, length: int = BUFFER) -> None:
        """Give the device buffers to receive into."""
        ring = self.rings[0]
        for index in range(count):
            ring.describe(index, GUEST_BASE + ring.buffer(index), length, WRITE)
            ring.add(index)

    async def transmit(self, frame: bytes, header: bytes = bytes(12)) -> None:
        """Send a frame of at most two buffers, header and frame apart, and wait until it was taken."""
        ring, data = self.rings[1], ring_data(self.rings[1])
        self.memory[data : data + 12] = header
        self.memory[data + 12 : data + 12 + len(frame)] = frame
        ring.describe(0, GUEST_BASE + data, 12, NEXT, 1)
        ring.describe(1, GUEST_BASE + data + 12, len(frame), 0)
        ring.add(0)
        await ring.returned()

    async def receive(self) -> tuple[bytes, bytes]:
        """The next frame: its header, and the bytes."""
        ring = self.rings[0]
        data = await self._buffer(ring)
        (chains,) = struct.unpack_from("<H", data, 10)
        for _ in range(chains - 1):
            data += await self._buffer(ring)
        return data[:12], data[12:]

    async def _buffer(self, ring: Ring) -> bytes:
        head, length = await ring.returned()
        start = ring.buffer(head)
        return self.memory[start : start + length]

    async def hung_up(self) -> bool:
        """Wait until the port ends the connection."""
        try:
            while await asyncio.get_running_loop().sock_recv(self.sock, 4096):
                pass
        except ConnectionResetError:
            pass
        return True


def ring_data(ring: Ring) -> int:
    """Where a transmit ring has room for one long frame."""
    return ring.buffers


async def dial(path: str) -> socket.socket:
    """Connect to a port's socket."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, path)
    return sock
