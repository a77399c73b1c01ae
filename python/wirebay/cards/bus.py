"""An ISA bus for emulators: ports that lead to cards, and lines that cards raise.

An emulator calls `io_read` and `io_write` from its hooks of the processor's `in` and `out`, `receive` when a
frame comes, and looks at `irq`. Whatever a card sends or changes has been told when the call returns:

    bus = Bus(on_frame=lambda card, frame: ..., on_irq=lambda line, level: ...)
    bus.plug(Ne2000(mac), port=0x300, irq=10)
    bus.io_write(0x300, 1, 0x21)

Cards with rings in memory get it when they are made (`Card.memory`), and may be plugged in too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from wirebay.cards.card import Card

FLOATING = 0xFFFFFFFF  # what is read where nothing answers
# Runs of an engine after one access; more only a card that never rests would want.
RUNS = 256


@dataclass(slots=True)
class Slot:
    """A card in its place: `size` ports of its first BAR from `port` on, and its interrupt line."""

    card: Card
    port: int
    size: int
    irq: int
    level: bool = False


class Bus:
    """The bus. `on_frame` gets what cards send, `on_irq` each change of a line's level."""

    def __init__(
        self,
        on_frame: Callable[[Card, bytes], None] | None = None,
        on_irq: Callable[[int, bool], None] | None = None,
    ) -> None:
        self.slots: list[Slot] = []
        self._on_frame, self._on_irq = on_frame, on_irq

    def plug(self, card: Card, *, port: int, irq: int) -> None:
        """Put a card at `port`. Raises ValueError when its ports are another's, or there are none."""
        size = card.identity.bars[0].size
        if not 0 <= port <= 0x10000 - size:
            raise ValueError(f"{size} ports from {port:#x} on are too many")
        for slot in self.slots:
            if port < slot.port + slot.size and slot.port < port + size:
                raise ValueError(f"port {port:#x} is taken: {slot.card.title} has {slot.port:#x} and on")
        self.slots.append(Slot(card, port, size, irq))

    def io_read(self, port: int, size: int, now: int = 0) -> int:
        """The processor reads `size` bytes from a port; `now` in microseconds."""
        slot = self._slot(port, size)
        if slot is None:
            return FLOATING & (1 << 8 * size) - 1
        value = slot.card.read(0, port - slot.port, size, now)
        self._settle(slot, now)
        return value

    def io_write(self, port: int, size: int, value: int, now: int = 0) -> None:
        """The processor writes."""
        slot = self._slot(port, size)
        if slot is not None:
            slot.card.write(0, port - slot.port, size, value, now)
            self._settle(slot, now)

    def receive(self, frame: bytes, now: int = 0) -> bool:
        """A frame comes to all cards; False: one could not take it, and has not seen it."""
        taken = True
        for slot in self.slots:
            if slot.card.receives:
                slot.card.receive(frame, now)
                self._settle(slot, now)
            else:
                taken = False
        return taken

    def tick(self, now: int) -> None:
        """Time has passed: engines with a deadline run."""
        for slot in self.slots:
            self._settle(slot, now)

    def irq(self, line: int) -> bool:
        """The level of a line: high while any card on it holds it."""
        return any(slot.level for slot in self.slots if slot.irq == line)

    def _slot(self, port: int, size: int) -> Slot | None:
        inside = (slot for slot in self.slots if slot.port <= port <= slot.port + slot.size - size)
        return next(inside, None)

    def _settle(self, slot: Slot, now: int) -> None:
        """Let the engine of a card run, and pass on what it has to say."""
        for _ in range(RUNS):
            frames, _, _, _, busy, deadline = slot.card.status()
            for frame in frames:
                if self._on_frame:
                    self._on_frame(slot.card, frame)
            if not busy and (deadline is None or deadline > now):
                break
            slot.card.run(now)
        before = self.irq(slot.irq)
        slot.level = slot.card.interrupt
        if self._on_irq and self.irq(slot.irq) != before:
            self._on_irq(slot.irq, not before)
