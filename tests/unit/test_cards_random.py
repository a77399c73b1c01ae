"""A million random operations on each card: it never fails, and reaches no memory but the guest's."""

from __future__ import annotations

import random

import pytest

from tests.examples.simple_card import SimpleCard
from tests.unit.card_rig import BROADCAST, MAC, Ram
from wirebay.cards.card import Card
from wirebay.cards.models import MODELS, card_class

OPERATIONS = 1_000_000
SEED = 1
SIZES = (1, 2, 4)
# Values that mean something: single bits, pages of memory, small numbers.
VALUES = (
    *(1 << bit for bit in range(32)),
    0,
    0xFF,
    0xFFFF,
    0xFFFFFFFF,
    *range(0x1000, 0x11000, 0x1000),
    *range(64),
)


def places(card: Card) -> list[tuple[int, int]]:
    """Places worth an access: BARs and offsets, those of registers more often."""
    bars = [(bar, size) for bar, size in enumerate(card.identity.bar_sizes) if size]
    known = [place.offset for register in card.spaces[""].registers for place in register.places()] * 4
    return [
        (bar, offset)
        for bar, size in bars
        for offset in (*known, *range(min(size, 256)))
        if offset + 4 <= size
    ]


def values(rng: random.Random) -> list[int]:
    """Many values; with the same seed the same."""
    return [rng.choice(VALUES) if rng.random() < 0.8 else rng.getrandbits(32) for _ in range(4096)]


def one(card: Card, rng: random.Random, place: tuple[int, int], value: int, now: int) -> None:
    """One operation."""
    size, kind = SIZES[value % 3], value & 7
    bar, offset = place
    if kind < 2:
        assert 0 <= card.read(bar, offset, size, now) < 1 << 8 * size
    elif kind < 7:
        card.write(bar, offset, size, value & (1 << 8 * size) - 1, now)
    elif value & 0x700:
        card.run(now)
    else:
        card.receive((MAC, BROADCAST)[value & 1] + bytes(8 + value % 1600), now)


@pytest.mark.parametrize("kind", [*map(card_class, MODELS), SimpleCard])
def test_random_operations_neither_fail_nor_leave_the_memory(kind: type[Card]) -> None:
    rng = random.Random(SEED)
    ram = Ram()
    card = kind(MAC, ram)
    wanted, pool = places(card), values(rng)
    for now in range(OPERATIONS):
        value = pool[now * 7 & 4095] if now & 1 else rng.getrandbits(32)
        one(card, rng, wanted[rng.getrandbits(24) % len(wanted)], value, now)
        if now % 16 == 0:
            for sent in card.status()[0]:
                assert len(sent) <= 65550
        if now % 65536 == 0:
            ram.data[:] = rng.randbytes(len(ram.data))
