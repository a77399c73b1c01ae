"""The virtio network device by the specification, and queues that no driver would make."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.card_rig import MAC, PEER, Hands, Ram, frame
from wirebay.cards.virtio_net import FEATURES, VirtioNet
from wirebay.cards.virtio_queue import NO_VECTOR
from wirebay.cards.virtio_registers import DeviceStatus

SELECT, FEATURE, DRIVER_SELECT, DRIVER_FEATURE, STATUS = 0x00, 0x04, 0x08, 0x0C, 0x14
QUEUE_SELECT, QUEUE_SIZE, QUEUE_VECTOR, QUEUE_ENABLE, QUEUE_DESC = 0x16, 0x18, 0x1A, 0x1C, 0x20
ISR, CONFIG, NOTIFY = 0x1000, 0x2000, 0x3000
RUNNING = 0x0F
SIZE = 8
NEXT, WRITE = 1, 2
QUEUES = (0x1000, 0x2000)
DATA = (0x4000, 0x8000)


class Driver(Hands):
    """The device with both queues set up; queue 0 receives."""

    card: VirtioNet

    def __init__(self, vector: int = NO_VECTOR, features: int = FEATURES) -> None:
        self.ram = Ram()
        super().__init__(VirtioNet(MAC, self.ram))
        self.added = [0, 0]
        self.write(STATUS, 0x03, 1)
        for half in (0, 1):
            self.write(DRIVER_SELECT, half)
            self.write(DRIVER_FEATURE, features >> 32 * half & 0xFFFFFFFF)
        self.write(STATUS, 0x0B, 1)
        for index, base in enumerate(QUEUES):
            self.write(QUEUE_SELECT, index, 2)
            self.write(QUEUE_SIZE, SIZE, 2)
            for place, address in ((0, base), (8, base + 0x400), (16, base + 0x800)):
                self.write(QUEUE_DESC + place, address)
                self.write(QUEUE_DESC + place + 4, 0)
            self.write(QUEUE_VECTOR, vector, 2)
            self.write(QUEUE_ENABLE, 1, 2)
        self.write(STATUS, RUNNING, 1)

    def describe(
        self, queue: int, index: int, address: int, length: int, flags: int = 0, following: int = 0
    ) -> None:
        self.ram.write(QUEUES[queue] + 16 * index, struct.pack("<QIHH", address, length, flags, following))

    def add(self, queue: int, head: int) -> None:
        base = QUEUES[queue] + 0x400
        self.ram.write(base + 4 + 2 * (self.added[queue] % SIZE), struct.pack("<H", head))
        self.added[queue] += 1
        self.ram.write(base + 2, struct.pack("<H", self.added[queue] & 0xFFFF))
        self.write(NOTIFY + 4 * queue, queue, 2)

    def offer(self, count: int = SIZE) -> None:
        for index in range(count):
            self.describe(0, index, DATA[0] + 0x800 * index, 2048, WRITE)
            self.add(0, index)

    def transmit(self, data: bytes, head: int = 0) -> None:
        self.ram.write(DATA[1], bytes(12) + data)
        self.describe(1, head, DATA[1], 12, NEXT, head + 1)
        self.describe(1, head + 1, DATA[1] + 12, len(data))
        self.add(1, head)

    def returned(self, queue: int, number: int) -> tuple[int, int]:
        """An entry of the used ring: head and length."""
        entry = self.ram.read(QUEUES[queue] + 0x804 + 8 * (number % SIZE), 8)
        head, length = struct.unpack("<II", entry)
        return head, length

    def used(self, queue: int) -> int:
        return int.from_bytes(self.ram.read(QUEUES[queue] + 0x802, 2), "little")

    def needs_reset(self) -> bool:
        return bool(self.read(STATUS, 1) & DeviceStatus.NEEDS_RESET)


@pytest.fixture
def driver() -> Driver:
    return Driver()


def test_features_are_offered_in_halves_and_only_those_are_taken() -> None:
    driver = Driver()
    halves = []
    for half in range(3):
        driver.write(SELECT, half)
        halves.append(driver.read(FEATURE))
    assert halves == [FEATURES & 0xFFFFFFFF, FEATURES >> 32, 0]
    assert driver.read(STATUS, 1) == RUNNING
    for wrong in (0, FEATURES | 1):
        assert not Driver(features=wrong).read(STATUS, 1) & DeviceStatus.FEATURES_OK


def test_the_device_configuration_has_the_address_and_the_link(driver: Driver) -> None:
    assert bytes(driver.read(CONFIG + at, 1) for at in range(6)) == MAC
    assert driver.read(CONFIG + 6, 2) == 1
    driver.card.set_link(False)
    assert (driver.read(CONFIG + 6, 2), driver.read(0x15, 1), driver.read(ISR, 1)) == (0, 1, 2)


def test_each_queue_keeps_its_own_settings(driver: Driver) -> None:
    driver.write(QUEUE_SELECT, 0, 2)
    assert [driver.read(at, 2) for at in (QUEUE_SIZE, QUEUE_ENABLE)] == [SIZE, 1]
    assert driver.read(QUEUE_DESC) == QUEUES[0]
    driver.write(QUEUE_SELECT, 2, 2)
    assert [driver.read(at, 2) for at in (QUEUE_SIZE, QUEUE_ENABLE)] == [0, 0]
    driver.write(QUEUE_ENABLE, 1, 2)
    driver.write(STATUS, 0, 1)
    driver.write(QUEUE_SELECT, 1, 2)
    assert [driver.read(at, 2) for at in (QUEUE_SIZE, QUEUE_ENABLE)] == [256, 0]


@pytest.mark.parametrize("size", [0, 3, 512])
def test_a_size_that_cannot_be_is_not_taken(size: int) -> None:
    driver = Hands(VirtioNet(MAC))
    driver.write(QUEUE_SIZE, size, 2)
    driver.write(QUEUE_SELECT, 0, 2)
    assert driver.read(QUEUE_SIZE, 2) == 256


def test_a_frame_is_sent_without_its_header_and_its_chain_returned(driver: Driver) -> None:
    driver.transmit(frame(PEER))
    assert driver.frames == [frame(PEER)]
    assert (driver.used(1), driver.returned(1, 0)) == (1, (0, 0))
    assert driver.pin()
    assert (driver.read(ISR, 1), driver.pin()) == (1, False)


def test_the_driver_may_want_no_interrupt(driver: Driver) -> None:
    driver.ram.write(QUEUES[1] + 0x400, b"\x01\0")
    driver.transmit(frame(PEER))
    assert not driver.pin()


def test_with_a_vector_the_pin_stays_low() -> None:
    driver = Driver(vector=2)
    driver.card.write(0, NOTIFY + 4, 2, 1, 0)
    driver.ram.write(DATA[1], bytes(12) + frame(PEER))
    driver.describe(1, 0, DATA[1], 112)
    driver.ram.write(QUEUES[1] + 0x402, b"\x01\0")
    driver.card.run(0)
    frames, pin, vectors, *_ = driver.card.status()
    assert (frames, pin, vectors) == ([frame(PEER)], False, [2])
    assert Driver(vector=7).card.queues[0].vector == NO_VECTOR


def test_a_received_frame_lies_behind_its_header(driver: Driver) -> None:
    assert not driver.takes()
    driver.offer(2)
    assert driver.takes()
    driver.receive(frame())
    assert driver.returned(0, 0) == (0, 112)
    assert driver.ram.read(DATA[0], 112) == bytes(10) + b"\x01\0" + frame()
    driver.receive(frame(length=20))
    assert driver.returned(0, 1) == (1, 72)
    assert not driver.takes()


@pytest.mark.parametrize(
    "case", ["loop", "beyond", "indirect", "writable", "short", "nowhere", "far", "no room"]
)
def test_a_chain_that_cannot_be_makes_the_device_need_a_reset(driver: Driver, case: str) -> None:
    driver.describe(1, 0, DATA[1], 100)
    queue = 1
    match case:
        case "loop":
            driver.describe(1, 0, DATA[1], 100, NEXT, 0)
        case "beyond":
            driver.describe(1, 0, DATA[1], 100, NEXT, SIZE)
        case "indirect":
            driver.describe(1, 0, DATA[1], 100, 4)
        case "writable":
            driver.describe(1, 0, DATA[1], 100, WRITE)
        case "short":
            driver.describe(1, 0, DATA[1], 20)
        case "nowhere":
            driver.describe(1, 0, 1 << 60, 100)
        case "far":
            driver.added[1] = SIZE
        case "no room":
            queue = 0
            driver.describe(0, 0, DATA[0], 50, WRITE)
    driver.add(queue, 0)
    driver.receive(frame())
    assert driver.needs_reset()
    assert driver.frames == []
    driver.write(STATUS, 0, 1)
    assert not driver.needs_reset()


@given(st.binary(min_size=256, max_size=256), st.binary(min_size=32, max_size=32), st.integers(0, 1))
def test_no_queue_makes_the_device_fail(table: bytes, available: bytes, queue: int) -> None:
    driver = Driver()
    driver.ram.write(QUEUES[queue], table)
    driver.ram.write(QUEUES[queue] + 0x400, available)
    driver.write(NOTIFY, 0, 2)
    driver.receive(frame())


@given(st.lists(st.integers(60, 1514), min_size=1, max_size=40))
def test_any_frames_pass_the_queues_in_order(lengths: list[int]) -> None:
    driver = Driver()
    driver.offer()
    for number, length in enumerate(lengths):
        driver.transmit(frame(PEER, length))
        driver.receive(frame(length=length))
        head, total = driver.returned(0, number)
        assert driver.ram.read(DATA[0] + 0x800 * head + 12, total - 12) == frame(length=length)
        driver.add(0, head)
    assert driver.frames == [frame(PEER, length) for length in lengths]
