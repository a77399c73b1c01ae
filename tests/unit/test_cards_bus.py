"""Cards on the bus of an emulator."""

from __future__ import annotations

import struct

import pytest

from tests.examples import unicorn_ne2000
from tests.unit.card_rig import MAC, PEER, Ram, frame
from wirebay.cards.bus import Bus
from wirebay.cards.card import Card
from wirebay.cards.ne2000 import Ne2000
from wirebay.cards.pcnet import LOOK, Pcnet


class Told:
    """A bus, and what it has told."""

    def __init__(self) -> None:
        self.frames: list[tuple[Card, bytes]] = []
        self.lines: list[tuple[int, bool]] = []
        self.bus = Bus(
            on_frame=lambda card, data: self.frames.append((card, data)),
            on_irq=lambda line, level: self.lines.append((line, level)),
        )

    def out(self, base: int, *pairs: tuple[int, int]) -> None:
        for port, value in pairs:
            self.bus.io_write(base + port, 1, value)


def started(told: Told, base: int) -> None:
    """Set an NE2000 up to receive everything."""
    told.out(base, (0, 0x21), (0xE, 0x48), (0xC, 0x14), (0xD, 0), (1, 0x46), (2, 0x80), (3, 0x46))
    told.out(base, (7, 0xFF), (0xF, 1), (0, 0x61), (7, 0x47), (0, 0x22))


def test_ports_lead_to_the_card_that_has_them() -> None:
    told = Told()
    first, second = Ne2000(MAC), Ne2000(PEER)
    told.bus.plug(first, port=0x300, irq=10)
    told.bus.plug(second, port=0x320, irq=11)
    told.out(0x320, (0, 0x62))
    assert (told.bus.io_read(0x300, 1), told.bus.io_read(0x320, 1)) == (0x21, 0x62)
    assert [told.bus.io_read(0x340, size) for size in (1, 2, 4)] == [0xFF, 0xFFFF, 0xFFFFFFFF]
    told.bus.io_write(0x340, 1, 0)


def test_a_place_is_given_once() -> None:
    bus = Bus()
    bus.plug(Ne2000(MAC), port=0x300, irq=10)
    for port in (0x300, 0x310, 0x2F0):
        with pytest.raises(ValueError, match="is taken: NE2000, ISA has 0x300"):
            bus.plug(Ne2000(PEER), port=port, irq=11)
    with pytest.raises(ValueError, match="too many"):
        bus.plug(Ne2000(PEER), port=0xFFF0, irq=11)


def test_a_line_is_high_while_a_card_on_it_holds_it() -> None:
    told = Told()
    for base in (0x300, 0x320):
        told.bus.plug(Ne2000(MAC), port=base, irq=10)
        started(told, base)
    assert told.bus.receive(frame())
    assert told.bus.irq(10)
    told.out(0x300, (7, 0xFF))
    assert told.lines == [(10, True)]
    told.out(0x320, (7, 0xFF))
    assert told.lines == [(10, True), (10, False)]
    assert not told.bus.irq(10)


def test_a_card_that_cannot_take_a_frame_says_so() -> None:
    told = Told()
    told.bus.plug(Ne2000(MAC), port=0x300, irq=10)
    started(told, 0x300)
    taken = [told.bus.receive(frame(length=1500)) for _ in range(20)]
    assert taken == sorted(taken, reverse=True)
    assert not taken[-1]


def test_a_card_with_rings_in_memory_runs_its_engine_and_its_timers() -> None:
    told, ram = Told(), Ram()
    card = Pcnet(MAC, ram)
    told.bus.plug(card, port=0x1000, irq=5)
    ram.write(0x1000, struct.pack("<16xII", 0x2000, 0x3000))
    for number, value in ((1, 0x1000), (2, 0), (0, 0x43)):
        told.bus.io_write(0x1012, 2, number)
        told.bus.io_write(0x1010, 2, value)
    assert told.lines == [(5, True)], "initialized"
    assert not told.bus.receive(frame())
    told.bus.tick(LOOK)
    assert card.deadline == 2 * LOOK


def test_a_real_processor_reads_the_prom_and_sends_a_frame() -> None:
    outcome = unicorn_ne2000.run(MAC)
    (sent,) = outcome.frames
    assert sent[:14] == b"\xff" * 6 + MAC + b"\x88\xb5"
    assert sent[14:].rstrip(b"\0") == b"hello from an emulated processor"
    assert outcome.lines == [(unicorn_ne2000.IRQ, True)]
