"""The NE2000 by its data sheets: DP8390D and RTL8029AS."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.card_rig import BROADCAST, MAC, PEER, Hands, frame
from wirebay.cards.dp8390_registers import Cr, Dcr, Isr, Rcr, Tcr, Tsr
from wirebay.cards.ethernet import checksum, hash_bit
from wirebay.cards.ne2000 import Ne2kPci, Ne2000

START, STOP = 0x46, 0x80
NODMA, DREAD, DWRITE, DSEND = 0x20, 0x08, 0x10, 0x18
DATA, RESET = 0x10, 0x1F


class Driver(Hands):
    """The card as a driver has set it up."""

    card: Ne2000

    def __init__(self, card: Ne2000 | None = None) -> None:
        super().__init__(card or Ne2kPci(MAC))

    def out(self, *pairs: tuple[int, int]) -> None:
        for port, value in pairs:
            self.write(port, value, 1)

    def start(self, rcr: int = Rcr.AB, dcr: int = Dcr.WTS | Dcr.LS) -> None:
        self.out((0, Cr.STP | NODMA), (0xE, dcr), (0xC, rcr), (0xD, 0), (1, START), (2, STOP), (3, START))
        self.out((7, 0xFF), (0xF, 0x7F), (0, Cr.STP | NODMA | 0x40), (7, START + 1))
        self.out(*((1 + index, byte) for index, byte in enumerate(MAC)), (0, Cr.STA | NODMA))

    def remote(self, address: int, length: int, command: int) -> None:
        self.out((0xA, length & 0xFF), (0xB, length >> 8), (8, address & 0xFF), (9, address >> 8))
        self.out((0, Cr.STA | command))

    def load(self, address: int, length: int, size: int = 2) -> bytes:
        self.remote(address, length, DREAD)
        parts = [self.read(DATA, size).to_bytes(size, "little") for _ in range(0, length, size)]
        return b"".join(parts)

    def save(self, address: int, data: bytes, size: int = 2) -> None:
        self.remote(address, len(data), DWRITE)
        for at in range(0, len(data), size):
            self.write(DATA, int.from_bytes(data[at : at + size], "little"), size)

    def transmit(self, data: bytes) -> None:
        self.save(0x4000, data + bytes(len(data) % 2))
        self.out((4, 0x40), (5, len(data) & 0xFF), (6, len(data) >> 8), (0, Cr.STA | NODMA | Cr.TXP))

    def curr(self) -> int:
        self.out((0, Cr.STA | NODMA | 0x40))
        value = self.read(7, 1)
        self.out((0, Cr.STA | NODMA))
        return value


@pytest.fixture
def driver() -> Driver:
    driver = Driver()
    driver.start()
    return driver


def test_the_prom_has_each_byte_twice_and_marks_a_16_bit_card(driver: Driver) -> None:
    driver.out((0xE, 0x48))
    prom = driver.load(0, 32, size=1)
    assert prom[::2] == prom[1::2] == MAC + bytes(8) + b"WW"
    driver.out((0xE, 0x49))
    driver.remote(0, 32, DREAD)
    assert bytes(driver.read(DATA, 1) for _ in range(6)) == MAC, "a word goes for each byte read"


@pytest.mark.parametrize(("size", "words"), [(1, 0), (2, 0), (4, 0), (2, Dcr.WTS), (4, Dcr.WTS)])
def test_memory_is_written_and_read_back_through_the_data_port(driver: Driver, size: int, words: int) -> None:
    driver.out((0xE, Dcr.LS | words))
    data = bytes(range(64))
    driver.save(0x4100, data, size)
    assert driver.read(7, 1) & Isr.RDC
    assert driver.load(0x4100, 64, size) == data


def test_remote_dma_wraps_at_the_end_of_the_ring_and_stops_at_its_count(driver: Driver) -> None:
    driver.save(0x7FFE, b"abcd")
    assert driver.load(0x7FFE, 2) == b"ab"
    assert driver.load(START << 8, 2) == b"cd"
    assert driver.read(DATA, 2) == 0xFFFF, "nothing remains"
    driver.save(0x9000, b"xx")
    assert driver.load(0x9000, 2) == b"\xff\xff", "there is no memory"


def test_a_frame_is_sent_as_it_lies_in_memory(driver: Driver) -> None:
    driver.transmit(frame(PEER, 61))
    assert driver.frames == [frame(PEER, 61)]
    assert driver.read(4, 1) == Tsr.PTX
    assert driver.read(7, 1) & Isr.PTX
    assert driver.card.interrupt
    assert not driver.read(0, 1) & Cr.TXP


def test_a_frame_outside_of_memory_is_an_error(driver: Driver) -> None:
    driver.out((4, 0x7F), (5, 0xFF), (6, 0xFF), (0, Cr.STA | NODMA | Cr.TXP))
    assert (driver.read(4, 1), driver.read(7, 1) & 0xF, driver.frames) == (Tsr.FU, Isr.TXE, [])


def test_in_loopback_and_when_stopped_nothing_reaches_the_wire(driver: Driver) -> None:
    driver.out((0xD, Tcr.LB & 0x02))
    driver.transmit(frame(PEER))
    driver.receive(frame())
    driver.out((0xD, 0), (0, Cr.STP | NODMA | Cr.TXP))
    driver.receive(frame())
    assert (driver.frames, driver.card.CURR) == ([], START + 1)


def test_a_received_frame_lies_behind_its_header(driver: Driver) -> None:
    driver.receive(frame(length=300))
    data = driver.load(START + 1 << 8, 308)
    assert data[:4] == bytes((0x01, START + 3, 304 & 0xFF, 304 >> 8))
    assert data[4:] == frame(length=300) + checksum(frame(length=300))
    assert driver.curr() == START + 3
    driver.out((3, START + 2), (7, 0xFF), (0, Cr.STA | DSEND))
    assert driver.card.RSAR == START + 2 << 8, "send packet: the frame at BNRY"


def test_a_card_that_was_started_goes_on_without_the_start_bit(driver: Driver) -> None:
    driver.out((0, NODMA))
    driver.receive(frame())
    assert driver.curr() == START + 2


def test_a_short_frame_is_padded(driver: Driver) -> None:
    driver.receive(frame(length=20))
    assert driver.load(START + 1 << 8, 4)[2:] == b"\x40\x00"


def test_a_frame_goes_on_at_the_start_of_the_ring(driver: Driver) -> None:
    driver.out((0, Cr.STA | NODMA | 0x40), (7, STOP - 1), (0, Cr.STA | NODMA), (3, STOP - 2))
    driver.receive(frame(length=400))
    data = driver.load(STOP - 1 << 8, 404)
    assert data[4:] == frame(length=400)
    assert (data[1], driver.curr()) == (START + 1, START + 1)


def test_a_full_ring_holds_frames_back_and_overflows_if_pressed(driver: Driver) -> None:
    while driver.takes():
        driver.receive(frame(length=1500))
    before = driver.curr()
    for _ in range(200):
        driver.receive(frame(length=1500))
    assert driver.curr() == before
    assert driver.read(7, 1) & (Isr.OVW | Isr.CNT) == Isr.OVW | Isr.CNT
    assert [driver.read(0xF, 1), driver.read(0xF, 1)] == [200, 0]
    driver.out((3, START))
    driver.out((3, before - 1))
    assert driver.takes()


@pytest.mark.parametrize(
    ("rcr", "to", "taken"),
    [
        (0, MAC, True),
        (0, PEER, False),
        (0, BROADCAST, False),
        (Rcr.AB, BROADCAST, True),
        (Rcr.PRO, PEER, True),
        (Rcr.AM, bytes.fromhex("01005e000001"), True),
        (Rcr.AM, bytes.fromhex("01005e000002"), False),
        (0, bytes.fromhex("01005e000001"), False),
        (Rcr.MON, MAC, False),
    ],
)
def test_frames_are_filtered_by_address(driver: Driver, rcr: int, to: bytes, taken: bool) -> None:
    bit = hash_bit(bytes.fromhex("01005e000001"))
    driver.out((0, Cr.STA | NODMA | 0x40), (8 + bit // 8, 1 << bit % 8), (0, Cr.STA | NODMA), (0xC, rcr))
    driver.receive(frame(to))
    assert bool(driver.read(7, 1) & Isr.PRX) is taken
    assert (driver.curr() != START + 1) is taken


def naive_hash(address: bytes) -> int:
    """Bit by bit as the data sheet draws it: a shift register of 32 bits, the least bit of a byte first."""
    register = 0xFFFFFFFF
    for bit in (byte >> place & 1 for byte in address for place in range(8)):
        feedback = register >> 31 ^ bit
        register = (register << 1 & 0xFFFFFFFF) ^ (0x04C11DB7 if feedback else 0)
    return register >> 26


@given(st.binary(min_size=6, max_size=6))
def test_the_hash_is_the_upper_six_bits_of_the_checksum(address: bytes) -> None:
    assert hash_bit(address) == naive_hash(address)


def test_the_reset_port_stops_the_card_until_it_is_started(driver: Driver) -> None:
    driver.read(RESET, 1)
    assert driver.read(7, 1) & Isr.RST
    assert driver.read(0, 1) == Cr.STP | NODMA
    assert not driver.card.interrupt
    driver.out((0, Cr.STA | NODMA))
    assert not driver.read(7, 1) & Isr.RST


def test_page_2_shows_what_was_written_to_page_0(driver: Driver) -> None:
    driver.out((0, Cr.STA | NODMA | 0x80))
    assert [driver.read(port, 1) for port in (1, 2, 0xC, 0xE, 0xF)] == [START, STOP, Rcr.AB, 0x09, 0x7F]


def test_only_the_pci_card_names_itself() -> None:
    pci, isa = Driver(), Driver(Ne2000(MAC))
    assert [pci.read(0xA, 1), pci.read(0xB, 1)] == [0x50, 0x43]
    assert [isa.read(0xA, 1), isa.read(0xB, 1)] == [0, 0]


@given(st.lists(st.integers(60, 1514), min_size=1, max_size=60))
def test_any_frames_come_out_of_the_ring_in_order(lengths: list[int]) -> None:
    driver = Driver()
    driver.start()
    following = START + 1
    for length in lengths:
        driver.receive(frame(length=length))
        status, after, low, high = driver.load(following << 8, 4)
        count = low | high << 8
        assert (status, count) == (1, length + 4)
        assert driver.load((following << 8) + 4, length + length % 2)[:length] == frame(length=length)
        following = after
        driver.out((3, following - 1 if following > START else STOP - 1))
    assert following == driver.curr()
