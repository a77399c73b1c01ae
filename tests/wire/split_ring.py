"""The driver's side of a split ring in shared memory (virtio 1.2 section 2.7), without indirect descriptors.

What a test wants wrong, it writes wrong.
"""

from __future__ import annotations

import asyncio
import mmap
import os
import struct

PATIENCE = 5.0
SIZE = 64
BUFFER = 2048
NEXT, WRITE = 1, 2
LENGTH = 16 * SIZE + 8192 + BUFFER * SIZE  # of all that belongs to a ring


class Ring:
    """One split ring, `SIZE` entries at `base` of the memory, and a buffer of `BUFFER` bytes for each.

    With `event_idx` the device is kicked only where it has asked for that.
    """

    def __init__(self, memory: mmap.mmap, base: int, *, event_idx: bool = False) -> None:
        self.memory, self.event_idx = memory, event_idx
        self.table, self.available, self.used = base, base + 16 * SIZE, base + 16 * SIZE + 4096
        self.buffers = base + 16 * SIZE + 8192
        self.kick, self.call, self.error = (os.eventfd(0, os.EFD_NONBLOCK) for _ in range(3))
        self.added = self.seen = 0

    def close(self) -> None:
        """Close its descriptors."""
        for fd in (self.kick, self.call, self.error):
            os.close(fd)

    def describe(self, index: int, address: int, length: int, flags: int, following: int = 0) -> None:
        """Write a descriptor."""
        struct.pack_into("<QIHH", self.memory, self.table + 16 * index, address, length, flags, following)

    def buffer(self, index: int) -> int:
        """Where the buffer of a descriptor lies in the memory."""
        return self.buffers + BUFFER * index

    def add(self, *heads: int) -> None:
        """Make chains available, and kick unless the device wants none."""
        before = self.added
        for head in heads:
            struct.pack_into("<H", self.memory, self.available + 4 + 2 * (self.added % SIZE), head)
            self.added += 1
        struct.pack_into("<H", self.memory, self.available + 2, self.added & 0xFFFF)
        if self._is_kick_wanted(before):
            os.eventfd_write(self.kick, 1)

    def _is_kick_wanted(self, before: int) -> bool:
        if not self.event_idx:
            return not struct.unpack_from("<H", self.memory, self.used)[0] & 1
        (event,) = struct.unpack_from("<H", self.memory, self.used + 4 + 8 * SIZE)
        return bool((self.added - event - 1) & 0xFFFF < (self.added - before) & 0xFFFF)

    async def returned(self) -> tuple[int, int]:
        """The next chain that came back: its head, and how many bytes were written."""
        async with asyncio.timeout(PATIENCE):
            while not self.has_returned():
                await readable(self.call)
        head, length = struct.unpack_from("<II", self.memory, self.used + 4 + 8 * (self.seen % SIZE))
        self.seen += 1
        # used_event: tell us of the next one.
        struct.pack_into("<H", self.memory, self.available + 4 + 2 * SIZE, self.seen & 0xFFFF)
        return head, length

    def has_returned(self) -> bool:
        """Whether a chain has come back that `returned` has not told of."""
        (index,) = struct.unpack_from("<H", self.memory, self.used + 2)
        return bool(index != self.seen & 0xFFFF)


async def readable(fd: int) -> None:
    """Wait until an eventfd counts, and reset it."""
    loop, event = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(fd, event.set)
    try:
        await event.wait()
        os.eventfd_read(fd)
    finally:
        loop.remove_reader(fd)
