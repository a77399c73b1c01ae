"""What the tests of cards share: memory, and a driver's hands."""

from __future__ import annotations

from wirebay.cards.card import Card

MAC = bytes.fromhex("525400123456")
PEER = bytes.fromhex("525400123457")
BROADCAST = b"\xff" * 6


def frame(to: bytes = MAC, length: int = 100, kind: int = 0x88B5) -> bytes:
    """An Ethernet frame of `length` bytes, each byte of its payload another."""
    head = to + PEER + kind.to_bytes(2, "big")
    return head + bytes(number & 0xFF for number in range(length - len(head)))


class Ram:
    """A guest's memory: `size` bytes from `base` on, and nothing elsewhere."""

    def __init__(self, size: int = 1 << 16, base: int = 0x1000) -> None:
        self.base, self.data = base, bytearray(size)

    def _start(self, address: int, size: int) -> int:
        start = address - self.base
        if not 0 <= start <= len(self.data) - size:
            raise OSError(f"no memory at {address:#x}")
        return start

    def read(self, address: int, size: int, /) -> bytes:
        start = self._start(address, size)
        return bytes(self.data[start : start + size])

    def write(self, address: int, data: bytes, /) -> None:
        start = self._start(address, len(data))
        self.data[start : start + len(data)] = data


class Hands:
    """A driver at a card: accesses to one BAR, and what the card does about them."""

    def __init__(self, card: Card, bar: int = 0) -> None:
        self.card, self.bar, self.now = card, bar, 0
        self.frames: list[bytes] = []

    def read(self, offset: int, size: int = 4) -> int:
        value = self.card.read(self.bar, offset, size, self.now)
        self.settle()
        return value

    def write(self, offset: int, value: int, size: int = 4) -> None:
        self.card.write(self.bar, offset, size, value, self.now)
        self.settle()

    def receive(self, data: bytes) -> None:
        self.card.receive(data, self.now)
        self.settle()

    def pin(self) -> bool:
        """The level of the interrupt pin."""
        return self.card.interrupt

    def takes(self) -> bool:
        """Whether it can take a frame."""
        return self.card.receives

    def settle(self) -> None:
        """Let the engine run until it wants no more."""
        for _ in range(1000):
            frames, _, _, _, busy, deadline = self.card.status()
            self.frames += frames
            if not busy and (deadline is None or deadline > self.now):
                return
            self.card.run(self.now)
        raise AssertionError("the engine never rests")
