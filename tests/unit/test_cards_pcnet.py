"""The Am79C970A by its data sheet."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.card_rig import BROADCAST, MAC, PEER, Hands, Ram, frame
from wirebay.cards.ethernet import checksum, hash_bit
from wirebay.cards.pcnet import LOOK, PATIENCE, Pcnet
from wirebay.cards.pcnet_registers import STYLES, Csr0, Flags, Mode

BLOCK, RX_RING, TX_RING, RX_DATA, TX_DATA = 0x1000, 0x2000, 0x3000, 0x8000, 0x4000
LOG = 2
SIZE = 1 << LOG
ROOM = 1536
GROUP = bytes.fromhex("01005e000001")


class Driver(Hands):
    """The card, initialized and started, by 16-bit or 32-bit ports."""

    card: Pcnet

    def __init__(self, style: int = 2, mode: int = 0, *, wide: bool = False, room: int = ROOM) -> None:
        self.ram, self.style, self.room = Ram(), STYLES[style], room
        super().__init__(Pcnet(MAC, self.ram))
        self.wide = wide
        if wide:
            self.write(0x10, 0, 4)
        self.tx = self.rx = 0
        self.bcr(20, style)
        self._block(mode)
        for index in range(SIZE):
            self.describe(RX_RING, index, RX_DATA + ROOM * index, Flags.OWN, room)
        self.csr(1, BLOCK)
        self.csr(2, 0)
        self.csr(0, Csr0.INIT)
        assert self.status() & Csr0.IDON
        self.csr(0, Csr0.STRT | Csr0.IDON)

    def _block(self, mode: int) -> None:
        bit = hash_bit(GROUP)
        filters = (1 << bit).to_bytes(8, "little")
        if self.style.size == 16:
            block = struct.pack("<HH6sH8sII", mode, LOG << 4 | LOG << 12, MAC, 0, filters, RX_RING, TX_RING)
        else:
            block = struct.pack("<H6s8sII", mode, MAC, filters, RX_RING | LOG << 29, TX_RING | LOG << 29)
        self.ram.write(BLOCK, block)

    def _select(self, number: int) -> None:
        self.write(0x14 if self.wide else 0x12, number, 4 if self.wide else 2)

    def csr(self, number: int, value: int) -> None:
        self._select(number)
        self.write(0x10, value, 4 if self.wide else 2)

    def csr_read(self, number: int) -> int:
        self._select(number)
        return self.read(0x10, 4 if self.wide else 2)

    def bcr(self, number: int, value: int) -> None:
        self._select(number)
        self.write(0x1C if self.wide else 0x16, value, 4 if self.wide else 2)

    def bcr_read(self, number: int) -> int:
        self._select(number)
        return self.read(0x1C if self.wide else 0x16, 4 if self.wide else 2)

    def status(self) -> int:
        return self.csr_read(0)

    def describe(self, ring: int, index: int, address: int, flags: int, length: int) -> None:
        """Write a descriptor."""
        style = self.style
        if style.size == 8:
            data = struct.pack("<IHH", address | (flags >> 8) << 24, -length & 0xFFFF, 0)
        else:
            words = {style.address: address, 4: flags << 16 | -length & 0xFFFF}
            data = b"".join(words.get(at, 0).to_bytes(4, "little") for at in range(0, 16, 4))
        self.ram.write(ring + index * style.size, data)

    def flags(self, ring: int, index: int) -> int:
        at = 3 if self.style.size == 8 else 7
        return self.ram.read(ring + index * self.style.size + at, 1)[0] << 8

    def transmit(self, data: bytes, *cuts: int, more: int = 0) -> None:
        """Send a frame, cut into buffers at these places."""
        ends = (*cuts, len(data))
        for start, end in zip((0, *cuts), ends, strict=True):
            flags = Flags.OWN | more | (0 if start else Flags.STP) | (Flags.ENP if end == len(data) else 0)
            self.ram.write(TX_DATA + start, data[start:end])
            self.describe(TX_RING, self.tx, TX_DATA + start, flags, end - start)
            self.tx = (self.tx + 1) % SIZE
        self.csr(0, self.status() & Csr0.IENA | Csr0.TDMD)

    def taken(self) -> tuple[int, bytes]:
        """The next frame received, which is given back: the flags of its last buffer, and its bytes."""
        data = b""
        while True:
            index, flags = self.rx, self.flags(RX_RING, self.rx)
            assert not flags & Flags.OWN
            data += self.ram.read(RX_DATA + ROOM * index, self.room)
            count = self.ram.read(RX_RING + index * self.style.size + self.style.count, 2)
            self.describe(RX_RING, index, RX_DATA + ROOM * index, Flags.OWN, self.room)
            self.rx = (index + 1) % SIZE
            if flags & Flags.ENP:
                return flags, data[: int.from_bytes(count, "little") & 0xFFF]


@pytest.fixture
def driver() -> Driver:
    return Driver()


def test_the_prom_and_the_chip_name_themselves(driver: Driver) -> None:
    prom = bytes(driver.read(at, 1) for at in range(16))
    assert (prom[:6], prom[14:]) == (MAC, b"WW")
    assert int.from_bytes(prom[12:14], "little") == sum(prom[:12]) + sum(prom[14:])
    assert driver.csr_read(88) | driver.csr_read(89) << 16 == 0x02621003


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("wide", [False, True])
def test_frames_pass_in_every_software_style_and_width(style: int, wide: bool) -> None:
    driver = Driver(style, wide=wide)
    assert bool(driver.bcr_read(18) & 0x80) is wide
    driver.transmit(frame(PEER))
    assert driver.frames == [frame(PEER)]
    assert driver.flags(TX_RING, 0) & Flags.OWN == 0
    driver.receive(frame())
    assert driver.taken() == (Flags.STP | Flags.ENP, frame() + checksum(frame()))
    wanted = Csr0.TXON | Csr0.RXON | Csr0.INIT | Csr0.STRT | Csr0.TINT | Csr0.RINT
    assert driver.status() & wanted | Csr0.INIT == wanted


def test_a_frame_may_lie_in_several_buffers(driver: Driver) -> None:
    driver.transmit(frame(PEER, 300), 10, 200)
    assert driver.frames == [frame(PEER, 300)]


def test_a_packet_without_a_beginning_is_skipped(driver: Driver) -> None:
    driver.describe(TX_RING, 0, TX_DATA, Flags.OWN | Flags.ENP, 100)
    driver.tx = 1
    driver.transmit(frame(PEER))
    assert driver.frames == [frame(PEER)]


def test_padding_and_checksum_are_as_the_modes_say() -> None:
    driver = Driver(mode=Mode.DXMTFCS)
    driver.transmit(frame(PEER) + checksum(frame(PEER)))
    driver.transmit(frame(PEER), more=Flags.ADD_FCS)
    assert driver.frames == [frame(PEER), frame(PEER)]
    driver = Driver()
    driver.csr(4, 0x0800)
    driver.transmit(frame(PEER, 20))
    assert driver.frames == [frame(PEER, 20).ljust(60, b"\0")]


def test_in_loopback_a_frame_comes_back() -> None:
    driver = Driver(mode=Mode.LOOP)
    driver.transmit(frame())
    assert (driver.frames, driver.taken()[1][:-4]) == ([], frame())


def test_a_long_frame_takes_several_buffers() -> None:
    driver = Driver(room=400)
    driver.receive(frame(length=1000))
    assert [driver.flags(RX_RING, index) for index in range(3)] == [Flags.STP, 0, Flags.ENP]
    assert driver.taken()[1][:-4] == frame(length=1000)


def test_a_frame_that_runs_out_of_buffers_ends_with_an_error() -> None:
    driver = Driver(room=300)
    driver.receive(frame(length=1400))
    assert driver.flags(RX_RING, SIZE - 1) & (Flags.ERR | Flags.BUFF) == Flags.ERR | Flags.BUFF


def test_frames_wait_for_a_buffer_and_are_missed_in_the_end(driver: Driver) -> None:
    for _ in range(SIZE):
        assert driver.takes()
        driver.receive(frame())
    assert not driver.takes()
    driver.now += LOOK
    driver.settle()
    assert not driver.takes()
    driver.taken()
    driver.now += LOOK
    driver.settle()
    assert driver.takes(), "it has looked again"
    driver.receive(frame())
    for _ in range(2 * PATIENCE // LOOK):
        driver.now += LOOK
        driver.settle()
    assert driver.takes()
    driver.receive(frame())
    assert driver.status() & (Csr0.MISS | Csr0.ERR) == Csr0.MISS | Csr0.ERR
    assert driver.csr_read(112) == 1


@pytest.mark.parametrize(
    ("mode", "to", "taken"),
    [
        (0, MAC, True),
        (0, PEER, False),
        (0, BROADCAST, True),
        (Mode.DRCVBC, BROADCAST, False),
        (Mode.DRCVPA, MAC, False),
        (0, GROUP, True),
        (0, bytes.fromhex("01005e000002"), False),
        (Mode.PROM, PEER, True),
        (Mode.DRX, MAC, False),
    ],
)
def test_frames_are_filtered_by_address(mode: int, to: bytes, taken: bool) -> None:
    driver = Driver(mode=mode)
    driver.receive(frame(to))
    assert bool(driver.status() & Csr0.RINT) is taken


def test_causes_are_masked_and_cleared_by_ones(driver: Driver) -> None:
    driver.csr(0, Csr0.IENA)
    assert not driver.pin()
    driver.receive(frame())
    assert driver.pin()
    assert driver.status() & Csr0.INTR
    driver.csr(3, Csr0.RINT)
    assert not driver.pin()
    driver.csr(3, 0)
    driver.csr(0, Csr0.IENA | Csr0.RINT)
    assert not driver.pin()
    driver.csr(4, 0x80)
    assert driver.pin(), "by command"
    driver.csr(4, 0x40)
    assert not driver.pin()


def test_writing_back_what_was_read_starts_nothing_again(driver: Driver) -> None:
    driver.receive(frame())
    driver.csr(0, driver.status())
    driver.receive(frame(length=80))
    assert [driver.taken()[1][:-4] for _ in range(2)] == [frame(), frame(length=80)]


def test_a_bus_error_stops_the_card(driver: Driver) -> None:
    driver.describe(TX_RING, 0, 0x0FFF0000, Flags.OWN | Flags.STP | Flags.ENP, 100)
    driver.csr(0, Csr0.TDMD)
    assert driver.status() & (Csr0.MERR | Csr0.TXON | Csr0.RXON) == Csr0.MERR


def test_stop_and_the_reset_port_stop_it(driver: Driver) -> None:
    driver.csr(0, Csr0.STOP)
    assert driver.status() == Csr0.STOP
    driver.receive(frame())
    assert driver.flags(RX_RING, 0) & Flags.OWN
    driver.csr(3, 0x5F00)
    driver.read(0x14, 2)
    assert (driver.status(), driver.csr_read(3), driver.bcr_read(20) & 0xFF) == (Csr0.STOP, 0, 2)


def test_the_link_is_seen_in_its_led(driver: Driver) -> None:
    assert driver.bcr_read(4) == 0x80C0
    driver.card.set_link(False)
    assert driver.bcr_read(4) == 0x00C0


@given(st.lists(st.integers(60, 1514), min_size=1, max_size=30), st.sampled_from(list(STYLES)))
def test_any_frames_pass_the_rings_in_order(lengths: list[int], style: int) -> None:
    driver = Driver(style)
    for length in lengths:
        driver.transmit(frame(PEER, length))
        driver.receive(frame(length=length))
        assert driver.taken()[1] == frame(length=length) + checksum(frame(length=length))
    assert driver.frames == [frame(PEER, length) for length in lengths]
