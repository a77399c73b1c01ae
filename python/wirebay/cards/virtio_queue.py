"""A split virtqueue, the device's side (virtio 1.2, section 2.7).

All of it lies in the guest's memory, so nothing there is trusted: chains end after as many descriptors as the
queue has, and an index beyond it is an error. Indexes are read and written whole.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from wirebay.cards.card import Card
from wirebay.cards.virtio_registers import Descriptor

LONGEST = 256  # entries
NO_INTERRUPT = 1
NO_VECTOR = 0xFFFF


class QueueError(Exception):
    """What the guest has written is no chain."""


@dataclass(slots=True)
class Buffer:
    """One descriptor: a piece of memory, which the device writes or reads."""

    address: int
    length: int
    writable: bool


@dataclass(slots=True)
class Queue:
    """Where the queue lies, and how far the device is; `seen` is the driver's index at the last look."""

    card: Card
    size: int = LONGEST
    vector: int = NO_VECTOR
    enabled: int = 0
    descriptors: int = 0
    available: int = 0
    used: int = 0
    taken: int = 0
    returned: int = 0
    seen: int = 0

    def look(self) -> bool:
        """Look for new chains; whether there are any."""
        if self.enabled:
            self.seen = int.from_bytes(self.card.fetch(self.available + 2, 2), "little")
        return self.has_chains()

    def has_chains(self) -> bool:
        """Whether there are chains that have been seen and not taken."""
        return bool(self.enabled) and self.seen != self.taken

    def take(self) -> tuple[int, list[Buffer]]:
        """The next chain: its head and its buffers. Raises QueueError."""
        if self.seen - self.taken & 0xFFFF > self.size:
            raise QueueError(f"{self.seen - self.taken & 0xFFFF} chains in a queue of {self.size}")
        place = self.available + 4 + 2 * (self.taken % self.size)
        head = int.from_bytes(self.card.fetch(place, 2), "little")
        buffers = list(self._walk(head))
        self.taken = self.taken + 1 & 0xFFFF
        return head, buffers

    def _walk(self, index: int) -> Iterator[Buffer]:
        for _ in range(self.size):
            if index >= self.size:
                raise QueueError(f"descriptor {index} in a queue of {self.size}")
            data = self.card.fetch(self.descriptors + 16 * index, 16)
            address, length, flags, following = struct.unpack("<QIHH", data)
            if flags & Descriptor.INDIRECT:
                raise QueueError("an indirect descriptor, which was not offered")
            yield Buffer(address, length, bool(flags & Descriptor.WRITE))
            if not flags & Descriptor.NEXT:
                return
            index = following
        raise QueueError("a chain without an end")

    def give_back(self, head: int, written: int) -> None:
        """Return a chain: the entry first, then the index that makes it the driver's."""
        place = self.used + 4 + 8 * (self.returned % self.size)
        self.card.store(place, struct.pack("<II", head, written))
        self.returned = self.returned + 1 & 0xFFFF
        self.card.store(self.used + 2, self.returned.to_bytes(2, "little"))

    def wants_interrupt(self) -> bool:
        """Whether the driver wants to be told of what was returned."""
        return not self.card.fetch(self.available, 2)[0] & NO_INTERRUPT
