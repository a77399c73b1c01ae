"""What cards do to packets: checksums, segmentation; and the serial EEPROM."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wirebay.cards.checksums import insert, looked_at, total
from wirebay.cards.e1000_offload import IPV4_CONTEXT, IXSM, TCP_CONTEXT, TXSM, Context, segments, tagged
from wirebay.cards.eeprom import ERASE, OTHER, READ, WRITE, Eeprom

ETHERNET = bytes(12)
TCP, UDP = 6, 17


def naive(data: bytes) -> int:
    """RFC 1071, word by word."""
    value = 0
    for (word,) in struct.iter_unpack(">H", data + bytes(len(data) % 2)):
        value += word
        value = (value & 0xFFFF) + (value >> 16)
    return value


@given(st.binary(max_size=100))
def test_the_sum_is_that_of_its_words(data: bytes) -> None:
    assert total(data) == naive(data)


def ipv4(payload: bytes, protocol: int, ident: int = 7) -> bytes:
    return (
        struct.pack(
            ">BBHHHBBHII", 0x45, 0, 20 + len(payload), ident, 0, 64, protocol, 0, 0x0A000001, 0x0A000002
        )
        + payload
    )


def tcp_packet(payload: bytes, *, six: bool = False, flags: int = 0x19) -> bytes:
    """A packet as a driver leaves it to be cut: the checksum is that of the pseudo header without length."""
    addresses = bytes(range(32)) if six else bytes.fromhex("0a0000010a000002")
    pseudo = naive(addresses + bytes((0, TCP)))
    tcp = struct.pack(">HHIIBBHHH", 1, 2, 0xFFFFFFF0, 0, 0x50, flags, 100, pseudo, 0) + payload
    if six:
        return ETHERNET + b"\x86\xdd" + struct.pack(">IHBB", 6 << 28, 0, TCP, 64) + addresses + tcp
    return ETHERNET + b"\x08\0" + ipv4(tcp, TCP)


def context(*, six: bool, mss: int, command: int = TCP_CONTEXT) -> Context:
    transport = 14 + (40 if six else 20)
    command |= 0 if six else IPV4_CONTEXT
    place = transport + (16 if command & TCP_CONTEXT else 6)
    length = transport + (20 if command & TCP_CONTEXT else 8)
    return Context(14, 0 if six else 24, transport - 1, transport, place, 0, command, length, mss)


@given(st.binary(max_size=400), st.integers(1, 150), st.booleans())
def test_segments_are_whole_packets_of_the_same_stream(payload: bytes, mss: int, six: bool) -> None:
    options = TXSM if six else TXSM | IXSM
    frames = list(segments(tcp_packet(payload, six=six), context(six=six, mss=mss), options))
    start = 34 + (20 if six else 0)
    assert b"".join(frame[start + 20 :] for frame in frames) == payload
    assert len(frames) == max(1, -(-len(payload) // mss))
    for number, frame in enumerate(frames):
        assert looked_at(frame) == ((None if six else True), True)
        (sequence,) = struct.unpack_from(">I", frame, start + 4)
        assert sequence == (0xFFFFFFF0 + number * mss) & 0xFFFFFFFF
        assert frame[start + 13] == (0x19 if number == len(frames) - 1 else 0x10)
        assert six or struct.unpack_from(">H", frame, 18) == (7 + number,)


def test_udp_is_cut_with_lengths_of_its_own() -> None:
    pseudo = naive(bytes.fromhex("0a0000010a000002") + bytes((0, UDP)))
    packet = ETHERNET + b"\x08\0" + ipv4(struct.pack(">HHHH", 1, 2, 0, pseudo) + bytes(25), UDP)
    frames = list(segments(packet, context(six=False, mss=10, command=0), IXSM | TXSM))
    assert [struct.unpack_from(">H", frame, 38)[0] for frame in frames] == [18, 18, 13]
    assert all(looked_at(frame) == (True, True) for frame in frames)


@given(
    st.binary(max_size=200),
    st.builds(Context, *[st.integers(0, 255)] * 2, st.integers(0, 65535), *[st.integers(0, 255)] * 2,
              st.integers(0, 65535), st.integers(0, 255), st.integers(0, 255), st.integers(0, 65535)),
    st.integers(0, 3),
)  # fmt: skip
def test_no_context_makes_segmentation_fail(packet: bytes, context: Context, options: int) -> None:
    frames = list(segments(packet, context, options))
    assert 1 <= len(frames) <= max(1, len(packet))


def test_a_checksum_outside_of_the_frame_is_left_alone() -> None:
    frame = bytearray(b"\x01" * 20)
    for start, place, end in ((30, 2, 0), (2, 19, 0), (2, 40, 0), (10, 2, 5)):
        insert(frame, start, place, end)
    assert frame == b"\x01" * 20


@pytest.mark.parametrize(
    ("frame", "found"),
    [
        (ETHERNET + b"\x08\x06" + bytes(50), (None, None)),
        (ETHERNET + b"\x08\0" + bytes(10), (None, None)),
        (ETHERNET + b"\x08\0" + ipv4(b"12345678", 1), (False, None)),
        (ETHERNET + b"\x08\0" + ipv4(bytes(8), UDP), (False, None)),
        (ETHERNET + b"\x08\0" + ipv4(b"12345678", UDP), (False, False)),
        (ETHERNET + b"\x86\xdd" + bytes(39), (None, None)),
    ],
)
def test_what_has_no_checksum_is_not_judged(frame: bytes, found: tuple[bool | None, bool | None]) -> None:
    assert looked_at(frame) == found


def test_a_tag_lies_behind_the_addresses() -> None:
    assert tagged(bytes(12) + b"\x08\0rest", 0x8100, 5) == bytes(12) + b"\x81\0\0\x05\x08\0rest"


class Chip:
    """A driver's hands at the EEPROM."""

    def __init__(self) -> None:
        self.chip = Eeprom(range(0x1000, 0x1040))

    def bits(self, value: int, count: int) -> int:
        result = 0
        for bit in reversed(range(count)):
            self.chip.drive(True, False, bool(value >> bit & 1))
            self.chip.drive(True, True, bool(value >> bit & 1))
            result = result << 1 | self.chip.output
        return result

    def command(self, opcode: int, address: int, data: int = 0) -> int:
        self.chip.drive(False, False, False)
        self.bits(0, 2)
        last = self.bits(opcode << 6 | address, 9) & 1
        assert last == int(opcode != READ), "a read begins with a zero"
        return self.bits(data, 16)


def test_words_are_read_bit_by_bit_and_one_after_the_other() -> None:
    chip = Chip()
    assert chip.command(READ, 5) == 0x1005
    assert chip.bits(0, 16) == 0x1006
    assert chip.command(READ, 63) == 0x103F
    assert chip.bits(0, 16) == 0x1000


def test_words_are_written_only_while_that_is_permitted() -> None:
    chip = Chip()
    chip.command(WRITE, 5, 0xBEEF)
    assert chip.command(READ, 5) == 0x1005
    chip.command(OTHER, 0b110000)
    chip.command(WRITE, 5, 0xBEEF)
    chip.command(ERASE, 6)
    assert (chip.command(READ, 5), chip.command(READ, 6)) == (0xBEEF, 0xFFFF)
    chip.command(OTHER, 0b000000)
    chip.command(ERASE, 5)
    assert chip.command(READ, 5) == 0xBEEF
