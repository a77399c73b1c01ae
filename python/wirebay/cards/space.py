"""The registers of one address space, found by offset and size, whole or in parts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from wirebay.cards.register import Declared, Place

# Told of each access: read or write, the place, and the value.
Tracer = Callable[[str, Place, int], None]


class Space:
    """All registers of a space. Where there is none, reads give the bits of `empty` and writes do nothing."""

    def __init__(self, registers: list[Declared[Any]], mirrored: list[Declared[Any]], empty: int = 0) -> None:
        self.registers = registers
        self.empty = empty & 0xFF
        readable = [register for register in registers if "r" in register.access]
        self._reads, self._read_bytes = index([*readable, *mirrored])
        self._writes, self._write_bytes = index([one for one in registers if "w" in one.access])

    def read(self, card: Any, offset: int, size: int, tracer: Tracer | None) -> int:
        """What a guest reads from `size` bytes at `offset`: a register, part of one, or several."""
        place = self._reads.get((offset, size))
        if place is not None:
            value = place.read(card)
            if tracer:
                tracer("read", place, value)
            return value
        total = 0
        for part, first, length in parts(self._read_bytes, offset, size):
            value = int.from_bytes(bytes([self.empty]) * length) if part is None else 0
            if part is not None:
                whole = part.read(card)
                if tracer:
                    tracer("read", part, whole)
                value = whole >> 8 * (first - part.offset) & (1 << 8 * length) - 1
            total |= value << 8 * (first - offset)
        return total

    def write(self, card: Any, offset: int, size: int, value: int, tracer: Tracer | None) -> None:
        """A guest writes `size` bytes at `offset`. The rest of a register written in part keeps its value."""
        place = self._writes.get((offset, size))
        if place is not None:
            if tracer:
                tracer("write", place, value)
            place.write(card, value)
            return
        for part, first, length in parts(self._write_bytes, offset, size):
            if part is not None:
                piece = value >> 8 * (first - offset) & (1 << 8 * length) - 1
                shift = 8 * (first - part.offset)
                covered = (1 << 8 * length) - 1 << shift
                whole = part.peek(card) & ~covered & ~part.register.clears | piece << shift
                if tracer:
                    tracer("write", part, whole)
                part.write(card, whole)


def index(registers: list[Declared[Any]]) -> tuple[dict[tuple[int, int], Place], dict[int, Place]]:
    """The places by offset and size, and by each of their bytes. Raises ValueError when two overlap."""
    whole: dict[tuple[int, int], Place] = {}
    single: dict[int, Place] = {}
    for register in registers:
        for place in register.places():
            for at in range(place.offset, place.offset + register.size):
                if at in single:
                    raise ValueError(f"{place.name} and {single[at].name} are both at {at:#x}")
                single[at] = place
            whole[place.offset, register.size] = place
    return whole, single


def parts(places: dict[int, Place], offset: int, size: int) -> Iterator[tuple[Place | None, int, int]]:
    """The places that an access meets, in order: each with the first of its bytes met, and how many."""
    start, end = offset, offset + size
    while start < end:
        place, stop = places.get(start), start + 1
        while stop < end and places.get(stop) is place:
            stop += 1
        yield place, start, stop - start
        start = stop
