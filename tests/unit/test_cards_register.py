"""Registers as they are declared, and what reads and writes of any width do with them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.card_rig import MAC
from wirebay.cards.card import Aborted, Card, DmaError
from wirebay.cards.pci import Bar, Identity
from wirebay.cards.register import Bits, Register, Row


class Some(Bits):
    ONE = 0x01
    WIDE = 0x0E
    LAST = 0x80


class Sample(Card):
    identity = Identity(vendor=1, device=2, bars=(Bar(64),))
    title, drivers, empty = "a sample", "none", 0xFF

    WORD = Register(0x00, "a word", size=4, reset=0x11223344)
    HALF = Register(0x04, "half of it read-only", size=2, writable=0x00FF, reset=0xAB00)
    CAUSE = Register(0x06, "causes", bits=Some, clears=0x81, writable=0)
    COUNT = Register(0x07, "a counter", read_clears=True, access="r")
    ONLY_READ = Register(0x08, "what is read here", access="r", reset=0x55)
    ONLY_WRITTEN = Register(0x08, "and written here", access="w", mirror="other")
    KEPT = Register(0x09, "survives resets", reset=None)
    ROW = Row(0x10, "four in a row", size=2, count=4, reset=7)
    FUNCTION = Register(0x20, "a function", size=2)

    def __init__(self) -> None:
        self.seen: list[int] = []
        super().__init__(MAC)

    @FUNCTION.on_write
    def _written(self, value: int) -> None:
        self.seen.append(value)

    @FUNCTION.on_read
    def _read(self) -> int:
        return 0x1234

    @property
    def interrupt(self) -> bool:
        return False


def read(card: Card, offset: int, size: int) -> int:
    return card.read(0, offset, size, 0)


def write(card: Card, offset: int, size: int, value: int) -> None:
    card.write(0, offset, size, value, 0)


def test_a_register_has_its_reset_value_and_is_an_attribute() -> None:
    card = Sample()
    assert (card.WORD, card.HALF, card.ROW) == (0x11223344, 0xAB00, [7, 7, 7, 7])
    card.WORD |= 1
    card.KEPT = 9
    card.reset(0)
    assert (card.WORD, card.KEPT) == (0x11223344, 9)


def test_parts_and_neighbours_are_read_as_memory_would_be() -> None:
    card = Sample()
    assert [read(card, at, 1) for at in range(4)] == [0x44, 0x33, 0x22, 0x11]
    assert read(card, 3, 2) == 0x0011
    assert read(card, 2, 4) == 0xAB001122
    assert read(card, 0x0A, 4) == 0xFFFFFFFF
    assert read(card, 0x12, 4) == 0x00070007


def test_a_write_in_part_leaves_the_rest() -> None:
    card = Sample()
    write(card, 1, 2, 0xBEEF)
    assert card.WORD == 0x11BEEF44
    write(card, 3, 2, 0x7766)
    assert (card.WORD, card.HALF) == (0x66BEEF44, 0xAB77)
    write(card, 0x11, 2, 0x0102)
    assert card.ROW == [0x0207, 0x0001, 7, 7]


def test_bits_are_read_only_cleared_by_ones_or_cleared_by_reading() -> None:
    card = Sample()
    write(card, 4, 2, 0xFFFF)
    assert card.HALF == 0xABFF
    card.CAUSE = 0x83
    write(card, 6, 1, 0x82)
    assert card.CAUSE == 0x03
    card.COUNT = 5
    write(card, 7, 1, 9)
    assert (read(card, 7, 1), read(card, 7, 1)) == (5, 0)


def test_a_write_beside_causes_clears_none() -> None:
    card = Sample()
    card.CAUSE = 0x81
    write(card, 5, 2, 0x0100 | 0xCD)
    assert (card.CAUSE, card.HALF) == (0x80, 0xAB00)


def test_one_place_may_be_read_and_written_as_two_registers() -> None:
    card = Sample()
    write(card, 8, 1, 3)
    assert (card.ONLY_WRITTEN, read(card, 8, 1)) == (3, 0x55)
    assert card.read_space("other", 8, 1) == 3


def test_functions_are_told_and_asked() -> None:
    card = Sample()
    write(card, 0x20, 2, 77)
    assert (card.seen, card.FUNCTION, read(card, 0x21, 1)) == ([77], 77, 0x12)


def test_a_trace_names_registers_and_bits() -> None:
    card, lines = Sample(), list[str]()
    card.trace = lines.append
    write(card, 6, 1, 0x85)
    card.ROW[1] = 0x10
    read(card, 0x12, 2)
    read(card, 0x30, 1)
    assert lines == ["write CAUSE 0x85 ONE WIDE=0x2 LAST", "read  ROW[1] 0x0010"]


def test_registers_that_overlap_are_refused() -> None:
    with pytest.raises(ValueError, match="SECOND and FIRST are both at 0x1"):
        type("Wrong", (Sample,), {
            "FIRST": Register(0x00, "", size=2, space="x"), "SECOND": Register(0x01, "", space="x"),
        })  # fmt: skip


class Fails:
    """Memory during whose use the card is reset, or that there is not."""

    def __init__(self, card: Card | None) -> None:
        self.card = card

    def read(self, address: int, size: int, /) -> bytes:
        if self.card is None:
            raise OSError("nothing")
        self.card.reset(0)
        return bytes(size)

    def write(self, address: int, data: bytes, /) -> None:
        self.read(address, len(data))


@pytest.mark.parametrize(("resets", "error"), [(True, Aborted), (False, DmaError)])
def test_an_access_to_memory_ends_what_is_being_done(resets: bool, error: type[Exception]) -> None:
    card = Sample()
    card.memory = Fails(card if resets else None)
    with pytest.raises(error):
        card.fetch(0, 4)
    with pytest.raises(error):
        card.store(0, b"1")


@given(st.lists(st.tuples(st.integers(0, 63), st.sampled_from((1, 2, 4)), st.integers(0, 2**32 - 1))))
def test_wide_reads_are_narrow_ones_side_by_side(writes: list[tuple[int, int, int]]) -> None:
    card = Sample()
    for offset, size, value in writes:
        write(card, offset, size, value & (1 << 8 * size) - 1)
        if 4 <= offset < 8 or offset + size > 63:
            continue
        card.COUNT = 0
        parts = [read(card, offset + at, 1) for at in range(size)]
        assert read(card, offset, size) == int.from_bytes(bytes(parts), "little")
