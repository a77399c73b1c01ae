"""The RTL8139C by its data sheet."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.card_rig import BROADCAST, MAC, PEER, Hands, Ram, frame
from tests.unit.test_cards_offload import Chip
from wirebay.cards.ethernet import checksum, hash_bit
from wirebay.cards.rtl8139 import Rtl8139
from wirebay.cards.rtl8139_registers import Cr, Isr, Rcr, RxStatus, Tsd

TSD, TSAD, RBSTART, CR, CAPR, CBR, IMR, ISR, TCR, RCR, TCTR, MPC, CR9346, TIMERINT = (
    0x10, 0x20, 0x30, 0x37, 0x38, 0x3A, 0x3C, 0x3E, 0x40, 0x44, 0x48, 0x4C, 0x50, 0x54,
)  # fmt: skip
MSR, BMSR = 0x58, 0x64
RING, DATA, SIZE = 0x1000, 0x9000, 8192
GROUP = bytes.fromhex("01005e000001")


class Driver(Hands):
    """The card with sender and receiver on."""

    card: Rtl8139

    def __init__(self, rcr: int = Rcr.APM | Rcr.AB) -> None:
        self.ram = Ram()
        super().__init__(Rtl8139(MAC, self.ram))
        self.write(CR, Cr.TE | Cr.RE, 1)
        self.write(RBSTART, RING)
        self.write(RCR, rcr)
        self.place = 0

    def transmit(self, index: int, data: bytes, at: int = DATA) -> None:
        self.ram.write(at, data)
        self.write(TSAD + 4 * index, at)
        self.write(TSD + 4 * index, len(data))

    def taken(self) -> tuple[int, bytes]:
        """The next frame of the ring, which is read and given back: status and bytes with the checksum."""
        ring = self.ram.read(RING, SIZE + 2048)
        if not self.card.RCR & Rcr.WRAP:
            ring = ring[:SIZE] * 2
        status, length = struct.unpack_from("<HH", ring, self.place)
        data = ring[self.place + 4 : self.place + 4 + length]
        self.place = (self.place + 4 + length + 3 & -4) % SIZE
        self.write(CAPR, self.place - 16 & 0xFFFF, 2)
        return status, data


@pytest.fixture
def driver() -> Driver:
    return Driver()


def test_the_address_comes_from_the_eeprom(driver: Driver) -> None:
    assert bytes(driver.read(at, 1) for at in range(6)) == MAC
    chip = Chip()
    chip.chip = driver.card.eeprom
    assert [chip.command(0b110, word) for word in (0, 7, 8, 9)] == [0x8129, *struct.unpack("<3H", MAC)]
    driver.write(0, 0x01020304)
    driver.write(CR9346, 0x40, 1)
    assert (driver.read(0), driver.read(CR9346, 1) & 0xC0) == (0x12005452, 0)


def test_the_pins_of_the_eeprom_are_driven_in_their_mode_only(driver: Driver) -> None:
    def bits(mode: int) -> int:
        driver.write(CR9346, 0, 1)
        for bit in f"110{7:06b}":
            driver.write(CR9346, mode | 0x08 | int(bit) * 2, 1)
            driver.write(CR9346, mode | 0x0C | int(bit) * 2, 1)
        word = 0
        for _ in range(16):
            driver.write(CR9346, mode | 0x08, 1)
            driver.write(CR9346, mode | 0x0C, 1)
            word = word << 1 | driver.read(CR9346, 1) & 1
        return word

    assert bits(0x80) == int.from_bytes(MAC[:2], "little")
    assert bits(0x00) == 0xFFFF


def test_a_frame_is_sent_and_its_status_told(driver: Driver) -> None:
    assert driver.read(TSD) == Tsd.OWN
    driver.transmit(0, frame(PEER))
    assert driver.frames == [frame(PEER)]
    assert driver.read(TSD) == Tsd.OWN | Tsd.TOK | 100
    assert driver.read(0x60, 2) == 0x100F
    assert driver.read(ISR, 2) == Isr.TOK
    assert not driver.pin()
    driver.write(IMR, Isr.TOK, 2)
    assert driver.pin()
    driver.write(ISR, Isr.TOK, 2)
    assert not driver.pin()


def test_descriptors_are_taken_in_turn(driver: Driver) -> None:
    driver.transmit(1, frame(PEER, 80), DATA + 0x800)
    assert driver.frames == []
    driver.transmit(0, frame(PEER, 70))
    assert driver.frames == [frame(PEER, 70), frame(PEER, 80)]


def test_a_bus_error_is_told_and_stops_the_sender(driver: Driver) -> None:
    driver.write(TSAD, 0xFFFFFF00)
    driver.write(TSD, 100)
    assert (driver.frames, driver.read(ISR, 2), driver.read(CR, 1) & Cr.TE) == ([], Isr.SERR, 0)


def test_frames_lie_one_behind_the_other(driver: Driver) -> None:
    assert driver.read(CR, 1) & Cr.BUFE
    driver.receive(frame(length=101))
    driver.receive(frame(BROADCAST, 20))
    assert not driver.read(CR, 1) & Cr.BUFE
    assert driver.read(CBR, 2) == 112 + 68
    assert driver.taken() == (RxStatus.ROK | RxStatus.PAM, frame(length=101) + checksum(frame(length=101)))
    status, data = driver.taken()
    assert (status, data[:60]) == (RxStatus.ROK | RxStatus.BAR, frame(BROADCAST, 20).ljust(60, b"\0"))
    assert driver.read(CR, 1) & Cr.BUFE
    assert driver.read(ISR, 2) == Isr.ROK


@pytest.mark.parametrize("wrap", [0, Rcr.WRAP])
def test_a_frame_at_the_end_of_the_ring_wraps_or_goes_on(wrap: int) -> None:
    driver = Driver(Rcr.APM | wrap)
    for length in (1500, 1400, 1300, 1200, 1100, 1000, 900, 800, 700):
        driver.receive(frame(length=length))
        assert driver.taken()[1][:-4] == frame(length=length)


def test_a_full_ring_holds_frames_back_and_overflows_if_pressed(driver: Driver) -> None:
    while driver.takes():
        driver.receive(frame(length=1500))
    before = driver.read(CBR, 2)
    driver.receive(frame(length=1514))
    driver.receive(frame(length=1514))
    assert driver.read(ISR, 2) & Isr.RXOVW
    assert driver.read(MPC) >= 1
    assert driver.read(CBR, 2) - before < 1530
    driver.write(MPC, 0)
    assert driver.read(MPC) == 0
    driver.taken()
    assert driver.takes()


@pytest.mark.parametrize(
    ("rcr", "to", "status"),
    [
        (Rcr.APM, MAC, RxStatus.PAM),
        (0, MAC, None),
        (Rcr.APM, PEER, None),
        (Rcr.AAP, PEER, 0),
        (Rcr.AB, BROADCAST, RxStatus.BAR),
        (Rcr.AM | Rcr.APM, BROADCAST, None),
        (Rcr.AM, GROUP, RxStatus.MAR),
        (Rcr.APM, GROUP, None),
        (Rcr.AM, bytes.fromhex("01005e000002"), None),
    ],
)
def test_frames_are_filtered_by_address(rcr: int, to: bytes, status: int | None) -> None:
    driver = Driver(rcr)
    bit = hash_bit(GROUP)
    driver.write(8 + bit // 8, 1 << bit % 8, 1)
    driver.receive(frame(to))
    if status is None:
        assert driver.read(CR, 1) & Cr.BUFE
    else:
        assert driver.taken()[0] == status | RxStatus.ROK


def test_in_loopback_a_frame_comes_back(driver: Driver) -> None:
    driver.write(TCR, 0x60000)
    driver.transmit(0, frame())
    assert (driver.frames, driver.taken()[1][:-4]) == ([], frame())


def test_the_version_is_that_of_an_rtl8139c_whatever_is_written(driver: Driver) -> None:
    driver.write(TCR, 0xFFFFFFFF)
    assert driver.read(TCR) & 0x7CC00000 == 0x74000000


def test_the_timer_counts_bus_clocks_and_interrupts(driver: Driver) -> None:
    driver.write(TCTR, 0)
    driver.write(TIMERINT, 3300)
    driver.now = 99
    driver.settle()
    assert (driver.read(TCTR), driver.read(ISR, 2)) == (99 * 33, 0)
    driver.now = 100
    driver.settle()
    assert driver.read(ISR, 2) == Isr.TIMEOUT


def test_a_soft_reset_keeps_the_addresses(driver: Driver) -> None:
    driver.write(0, 0x01020304)
    driver.write(8, 0xFFFFFFFF)
    driver.write(IMR, 0xFFFF, 2)
    driver.write(CR, Cr.RST, 1)
    assert (driver.read(0), driver.read(8)) == (0x01020304, 0xFFFFFFFF)
    assert (driver.read(CR, 1), driver.read(IMR, 2), driver.read(RCR)) == (Cr.BUFE, 0, 0)


def test_the_link_is_seen_in_both_places(driver: Driver) -> None:
    assert (driver.read(MSR, 1) & 4, driver.read(BMSR, 2) & 4) == (0, 4)
    driver.card.set_link(False)
    assert (driver.read(MSR, 1) & 4, driver.read(BMSR, 2) & 4) == (4, 0)
    assert driver.read(ISR, 2) == Isr.PUN


@given(st.lists(st.integers(60, 1514), min_size=1, max_size=40), st.sampled_from([0, Rcr.WRAP]))
def test_any_frames_come_out_of_the_ring_in_order(lengths: list[int], wrap: int) -> None:
    driver = Driver(Rcr.APM | wrap)
    for length in lengths:
        driver.receive(frame(length=length))
        assert driver.taken() == (
            RxStatus.ROK | RxStatus.PAM,
            frame(length=length) + checksum(frame(length=length)),
        )
    assert driver.read(CR, 1) & Cr.BUFE
