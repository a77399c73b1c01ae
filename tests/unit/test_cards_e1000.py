"""The 82540EM by Intel's manual."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.card_rig import BROADCAST, MAC, PEER, Hands, Ram, frame
from tests.unit.test_cards_offload import Chip, context, tcp_packet
from wirebay.cards.checksums import looked_at
from wirebay.cards.e1000 import E1000
from wirebay.cards.e1000_offload import Context, segments
from wirebay.cards.e1000_registers import Cause, Ctrl, Eecd, Rctl, RxStatus, Status
from wirebay.cards.ethernet import checksum

CTRL, STATUS, EECD, EERD, MDIC, ICR, ICS, IMS, IMC, RCTL, TCTL = (
    0x0, 0x8, 0x10, 0x14, 0x20, 0xC0, 0xC8, 0xD0, 0xD8, 0x100, 0x400,
)  # fmt: skip
RDBAL, RDLEN, RDH, RDT, TDBAL, TDLEN, TDH, TDT, RXCSUM = (
    0x2800, 0x2808, 0x2810, 0x2818, 0x3800, 0x3808, 0x3810, 0x3818, 0x5000,
)  # fmt: skip
TX_RING, RX_RING, TX_DATA, RX_DATA = 0x1000, 0x2000, 0x3000, 0x8000
SIZE = 8
EOP, IFCS, IC, RS, DEXT, VLE = 1, 2, 4, 8, 0x20, 0x40


class Driver(Hands):
    """The card with both rings set up."""

    card: E1000

    def __init__(self, rctl: int = Rctl.EN | Rctl.BAM) -> None:
        self.ram = Ram()
        super().__init__(E1000(MAC, self.ram))
        self.tail = 0
        self.write(CTRL, Ctrl.SLU)
        for register, value in ((TDBAL, TX_RING), (TDLEN, SIZE * 16), (RDBAL, RX_RING), (RDLEN, SIZE * 16)):
            self.write(register, value)
        for index in range(SIZE):
            self.ram.write(RX_RING + 16 * index, struct.pack("<QQ", RX_DATA + 2048 * index, 0))
        self.write(RDT, SIZE - 1)
        self.write(TCTL, 2)
        self.write(RCTL, rctl)
        self.read(ICR)

    def put(self, *descriptors: bytes) -> None:
        """Put descriptors into the transmit ring, and tell the card."""
        for descriptor in descriptors:
            self.ram.write(TX_RING + 16 * self.tail, descriptor)
            self.tail = (self.tail + 1) % SIZE
        self.write(TDT, self.tail)

    def legacy(
        self, data: bytes, command: int, at: int = TX_DATA, cso: int = 0, css: int = 0, tag: int = 0
    ) -> bytes:
        self.ram.write(at, data)
        return struct.pack("<QHBBBBH", at, len(data), cso, command, 0, css, tag)

    def data(self, data: bytes, command: int, options: int, at: int = TX_DATA) -> bytes:
        self.ram.write(at, data)
        word = len(data) | 1 << 20 | (command | DEXT) << 24
        return struct.pack("<QIBBH", at, word, 0, options, 0)

    def received(self, index: int) -> tuple[bytes, int, int, int]:
        """A receive descriptor: the bytes, status, errors and tag."""
        buffer, length, _, status, errors, tag = struct.unpack(
            "<QHHBBH", self.ram.read(RX_RING + 16 * index, 16)
        )
        return self.ram.read(buffer, length), status, errors, tag


def packed(context: Context) -> bytes:
    word = (context.command | DEXT) << 24
    return struct.pack(
        "<BBHBBHIBBH", context.ipcss, context.ipcso, context.ipcse, context.tucss, context.tucso,
        context.tucse, word, 0, context.header, context.mss,
    )  # fmt: skip


@pytest.fixture
def driver() -> Driver:
    return Driver()


def test_the_eeprom_sums_up_and_both_ways_to_it_agree(driver: Driver) -> None:
    words = []
    for address in range(64):
        driver.write(EERD, address << 8 | 1)
        value = driver.read(EERD)
        assert value & 0x10
        words.append(value >> 16)
    assert sum(words) & 0xFFFF == 0xBABA
    assert struct.pack("<3H", *words[:3]) == MAC
    driver.write(EECD, Eecd.REQ)
    assert driver.read(EECD) & (Eecd.GNT | Eecd.PRES) == Eecd.GNT | Eecd.PRES
    chip = Chip()
    chip.chip = driver.card.eeprom
    assert chip.command(0b110, 1) == words[1]
    driver.write(EECD, 0)
    driver.write(EECD, Eecd.CS)
    driver.write(EECD, Eecd.CS | Eecd.SK | Eecd.DI)
    assert driver.read(EECD) & Eecd.DO


def test_the_phy_names_itself_and_has_a_link(driver: Driver) -> None:
    def phy(number: int) -> int:
        driver.write(MDIC, 2 << 26 | 1 << 21 | number << 16)
        value = driver.read(MDIC)
        assert value >> 28 & 1
        return value & 0xFFFF

    assert (phy(2), phy(3)) == (0x0141, 0x0C20)
    assert phy(1) & 0x24 == 0x24
    driver.write(MDIC, 1 << 26 | 1 << 21 | 4 << 16 | 0x0021)
    assert phy(4) == 0x0021
    driver.write(MDIC, 1 << 26 | 1 << 21 | 0 << 16 | 0x8000)
    assert (phy(4), phy(0) & 0x8000) == (0x0DE1, 0)
    driver.write(MDIC, 2 << 26 | 3 << 21)
    assert driver.read(MDIC) >> 30 & 1, "there is no other"


def test_the_link_comes_with_the_driver_and_goes_with_the_cable(driver: Driver) -> None:
    assert driver.read(STATUS) & Status.LU
    driver.card.set_link(False)
    assert not driver.read(STATUS) & Status.LU
    assert driver.read(ICR) == Cause.LSC
    driver.card.set_link(True)
    assert driver.read(STATUS) & Status.LU


def test_causes_are_set_masked_and_cleared_by_reading(driver: Driver) -> None:
    driver.write(ICS, Cause.RXT0 | Cause.LSC)
    assert not driver.pin()
    driver.write(IMS, Cause.RXT0)
    assert driver.pin()
    driver.write(IMS, Cause.LSC)
    assert driver.read(IMS) == Cause.RXT0 | Cause.LSC
    driver.write(IMC, Cause.RXT0)
    assert driver.read(IMS) == Cause.LSC
    driver.write(ICR, Cause.LSC)
    assert driver.read(ICR) == Cause.RXT0
    assert (driver.read(ICR), driver.pin()) == (0, False)


def test_a_legacy_descriptor_sends_its_frame_and_is_written_back(driver: Driver) -> None:
    driver.put(driver.legacy(frame(PEER), EOP | IFCS | RS))
    assert driver.frames == [frame(PEER)]
    assert driver.ram.read(TX_RING + 12, 1) == b"\x01"
    assert driver.read(ICR) & (Cause.TXDW | Cause.TXQE) == Cause.TXDW | Cause.TXQE
    driver.put(driver.legacy(frame(PEER), EOP))
    assert driver.ram.read(TX_RING + 28, 1) == b"\x00", "without RS it is not"
    assert driver.read(TDH) == 2


def test_a_frame_may_lie_in_several_buffers(driver: Driver) -> None:
    whole = frame(PEER, 300)
    driver.put(
        driver.legacy(whole[:10], 0),
        driver.legacy(whole[10:110], 0, TX_DATA + 0x400),
        driver.legacy(whole[110:], EOP | RS, TX_DATA + 0x800),
    )
    assert driver.frames == [whole]


def test_a_legacy_descriptor_inserts_a_checksum(driver: Driver) -> None:
    packet = bytearray(tcp_packet(b"hello"))
    packet[50:52] = ((packet[50] << 8 | packet[51]) + 25).to_bytes(2, "big")
    driver.put(driver.legacy(bytes(packet), EOP | IC, cso=50, css=34))
    assert looked_at(driver.frames[0][: len(packet)])[1] is True


def test_a_tag_is_put_in_on_the_way_out(driver: Driver) -> None:
    driver.write(CTRL, Ctrl.SLU | Ctrl.VME)
    driver.put(driver.legacy(frame(PEER), EOP | VLE, tag=0x2005))
    assert driver.frames == [frame(PEER)[:12] + bytes.fromhex("81002005") + frame(PEER)[12:]]


def test_a_context_cuts_what_follows(driver: Driver) -> None:
    packet = tcp_packet(bytes(range(250)) * 10)
    driver.put(packed(context(six=False, mss=1000)), driver.data(packet, EOP | IC | RS, 3))
    assert [len(sent) for sent in driver.frames] == [1054, 1054, 554]
    assert all(looked_at(sent) == (True, True) for sent in driver.frames)
    assert driver.read(0x40F8) == 1
    assert (driver.read(0x40D4), driver.read(0x40D4)) == (3, 0)


def test_a_packet_that_never_ends_is_dropped_and_the_next_is_sent(driver: Driver) -> None:
    descriptor = struct.pack("<QIBBH", TX_DATA, 0x8000 | 1 << 20 | DEXT << 24, 0, 0, 0)
    driver.ram.data[:] = bytes(len(driver.ram.data))
    driver.put(
        descriptor,
        descriptor,
        descriptor,
        struct.pack("<QIBBH", TX_DATA, 1 << 20 | (DEXT | EOP) << 24, 0, 0, 0),
    )
    assert driver.frames == []
    driver.put(driver.legacy(frame(PEER), EOP))
    assert driver.frames == [frame(PEER)]


def test_a_tail_outside_of_the_ring_stops_after_a_lap(driver: Driver) -> None:
    driver.write(TDT, 500)
    assert driver.read(TDH) < SIZE


def test_a_bus_error_stops_the_ring(driver: Driver) -> None:
    driver.put(struct.pack("<QHBBBBH", 1 << 40, 64, 0, EOP | RS, 0, 0, 0))
    assert (driver.frames, driver.read(TDH)) == ([], 0)


def test_a_received_frame_has_its_checksum_and_status(driver: Driver) -> None:
    driver.receive(frame())
    assert driver.received(0) == (
        frame() + checksum(frame()),
        RxStatus.DD | RxStatus.EOP | RxStatus.IXSM,
        0,
        0,
    )
    assert (driver.read(RDH), driver.read(ICR)) == (1, Cause.RXT0)
    driver.write(RCTL, Rctl.EN | Rctl.SECRC)
    driver.receive(frame(length=30))
    assert driver.received(1)[0] == frame(length=30).ljust(60, b"\0")


def test_a_long_frame_takes_several_buffers(driver: Driver) -> None:
    driver.write(RCTL, Rctl.EN | Rctl.SECRC | 3 << 16)
    driver.receive(frame(length=600))
    parts = [driver.received(index) for index in range(3)]
    assert b"".join(part[0] for part in parts) == frame(length=600)
    assert [part[1] & RxStatus.EOP for part in parts] == [0, 0, RxStatus.EOP]


def test_with_too_few_buffers_frames_wait_and_are_lost_if_pressed(driver: Driver) -> None:
    for _ in range(SIZE - 1):
        assert driver.takes()
        driver.receive(frame())
    assert not driver.takes()
    assert driver.read(ICR) & Cause.RXDMT0
    driver.receive(frame())
    assert driver.read(ICR) & Cause.RXO
    assert (driver.read(0x4010), driver.read(0x40A0)) == (1, 1)
    driver.write(RDT, SIZE - 2)
    assert driver.takes()


GROUP = bytes.fromhex("01005e000001")


@pytest.mark.parametrize(
    ("rctl", "to", "status"),
    [
        (0, MAC, 3),
        (0, PEER, None),
        (0, BROADCAST, None),
        (Rctl.BAM, BROADCAST, 3),
        (Rctl.UPE, PEER, 3),
        (0, GROUP, None),
        (Rctl.MPE, GROUP, 3),
        (Rctl.MPE, BROADCAST, 3),
        (Rctl.UPE, GROUP, None),
    ],
)
def test_frames_are_filtered_by_address(driver: Driver, rctl: int, to: bytes, status: int | None) -> None:
    driver.write(RCTL, Rctl.EN | rctl)
    driver.receive(frame(to))
    assert driver.read(RDH) == (0 if status is None else 1)
    assert status is None or driver.received(0)[1] == status | RxStatus.IXSM


@pytest.mark.parametrize("mode", range(4))
def test_the_multicast_table_is_asked_by_the_bits_that_are_chosen(driver: Driver, mode: int) -> None:
    bits = int.from_bytes(GROUP, "little") >> (36, 35, 34, 32)[mode] & 0xFFF
    driver.write(0x5200 + (bits >> 5) * 4, 1 << (bits & 31))
    driver.write(RCTL, Rctl.EN | mode << 12)
    driver.receive(frame(GROUP))
    assert driver.received(0)[1] & RxStatus.PIF


def test_tags_are_filtered_and_taken_out(driver: Driver) -> None:
    tagged = frame()[:12] + bytes.fromhex("8100 6005") + frame()[12:]
    driver.write(CTRL, Ctrl.SLU | Ctrl.VME)
    driver.write(RCTL, Rctl.EN | Rctl.VFE)
    driver.receive(tagged)
    assert driver.read(RDH) == 0
    driver.write(0x5600, 1 << 5)
    driver.receive(tagged)
    data, status, _, tag = driver.received(0)
    assert (data[:-4], status & RxStatus.VP, tag) == (frame(), RxStatus.VP, 0x6005)


def test_checksums_are_looked_at_if_that_is_wanted(driver: Driver) -> None:
    (good,) = finished(tcp_packet(b"hello"))
    driver.write(RXCSUM, 0x300)
    driver.receive(MAC + good[6:])
    bad = bytearray(MAC + good[6:])
    bad[-1] ^= 1
    driver.receive(bytes(bad))
    wanted = RxStatus.DD | RxStatus.EOP | RxStatus.IPCS | RxStatus.TCPCS
    assert [driver.received(index)[1:3] for index in range(2)] == [(wanted, 0), (wanted, 0x20)]


def finished(packet: bytes) -> list[bytes]:
    """The packet with its checksums, in one piece."""
    return list(segments(packet, context(six=False, mss=0), 3))


def test_the_ports_lead_to_the_same_registers(driver: Driver) -> None:
    card = driver.card
    card.write(1, 0, 4, IMS, 0)
    card.write(1, 4, 4, Cause.RXT0, 0)
    assert (card.read(1, 4, 4, 0), card.IMS, card.read(1, 0, 4, 0)) == (Cause.RXT0, Cause.RXT0, IMS)


def test_a_reset_forgets_rings_and_causes_and_loads_the_address(driver: Driver) -> None:
    driver.write(0x5400, 0)
    driver.write(IMS, Cause.RXT0)
    driver.write(CTRL, Ctrl.RST)
    assert (driver.read(0x5400), driver.read(0x5404)) == (0x12005452, 0x80005634)
    assert [driver.read(register) for register in (RCTL, TCTL, IMS, ICR, RDH, TDLEN)] == [0] * 6
    driver.receive(frame())
    assert driver.ram.read(RX_RING, 16)[12] == 0


@given(st.lists(st.integers(60, 1514), min_size=1, max_size=30))
def test_any_frames_pass_the_rings_in_order(lengths: list[int]) -> None:
    driver = Driver()
    for number, length in enumerate(lengths):
        driver.put(driver.legacy(frame(PEER, length), EOP | RS))
        driver.receive(frame(length=length))
        assert driver.received(number % SIZE)[0][:-4] == frame(length=length)
        driver.write(RDT, number % SIZE)
    assert driver.frames == [frame(PEER, length) for length in lengths]
