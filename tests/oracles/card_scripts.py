"""What is done to a card on both sides; each step says what it saw, under a name."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable

from tests.oracles.card_sides import MAC, Cable, Side
from tests.oracles.qtest import IO, MEMORY, Machine
from tests.unit.test_cards_offload import context, tcp_packet
from wirebay.cards.e1000_offload import Context

PEER = bytes.fromhex("525400123457")
BROADCAST = b"\xff" * 6
See = Callable[[str, object], None]
TRIES = 2000
SECOND = 1_000_000_000


def frame(to: bytes, length: int) -> bytes:
    head = to + PEER + b"\x88\xb5"
    return head + bytes(number * 7 & 0xFF for number in range(length - len(head)))


def until(happened: Callable[[], bool]) -> None:
    """Ask until something is so that a frame from outside has made so."""
    assert any(happened() for _ in range(TRIES)), "the frame never came"


class Ne2000Driver:
    """A driver's hands at an NE2000."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine

    def out(self, *pairs: tuple[int, int]) -> None:
        """Write ports of one byte."""
        for port, value in pairs:
            self.machine.out(IO + port, 1, value)

    def read(self, port: int, size: int = 1) -> int:
        """Read a port."""
        return self.machine.port(IO + port, size)

    def remote(self, address: int, length: int, command: int) -> None:
        """Begin remote DMA."""
        self.out((0xA, length & 255), (0xB, length >> 8), (8, address & 255), (9, address >> 8))
        self.out((0, 0x02 | command))

    def save(self, address: int, data: bytes, size: int = 2) -> None:
        """Write the packet memory."""
        self.remote(address, len(data) + 1 & -2, 0x10)
        for at in range(0, len(data), size):
            self.machine.out(IO + 0x10, size, int.from_bytes(data[at : at + size], "little"))

    def load(self, address: int, length: int, size: int = 2) -> list[int]:
        """Read it."""
        self.remote(address, length, 0x08)
        return [self.read(0x10, size) for _ in range(0, length, size)]


def ne2000(side: Side, see: See, seed: int) -> None:
    """Ports, remote DMA, sending, receiving, and register accesses by chance."""
    machine, cable = side
    driver, rng = Ne2000Driver(machine), random.Random(seed)
    driver.read(0x1F)
    see("stopped", driver.read(7) & 0x80)
    driver.out((0, 0x21), (0xE, 0x49), (0xC, 0x04), (0xD, 0), (1, 0x46), (2, 0x80), (3, 0x46))
    driver.remote(0, 32, 0x08)
    see("the address in the PROM", [driver.read(0x10) for _ in range(6)])
    driver.out((7, 0xFF), (0xF, 0x7F), (0, 0x61), (7, 0x47), *enumerate(MAC, 1), (0, 0x22))
    for _ in range(40):
        address, size, data = 0x4000 + 4 * rng.randrange(0x100), rng.choice((2, 4)), rng.randbytes(32)
        driver.save(address, data, size)
        see("remote DMA is complete", driver.read(7) & 0x40)
        see("memory", driver.load(address, 32, size))
        driver.out((7, 0xFF))
    for length in (60, 61, 1514):
        driver.save(0x4000, frame(PEER, length))
        driver.out((7, 0xFF), (4, 0x40), (5, length & 255), (6, length >> 8), (0, 0x26))
        see("sent", cable.receive().hex())
        see("transmitted", (driver.read(7), driver.read(4) & 1, driver.read(0), machine.level()))
        driver.out((7, 0xFF))
        see("the line after that", machine.level())
    ne2000_receives(driver, cable, see)
    for _ in range(300):
        ne2000_register(driver, see, rng)


def ne2000_receives(driver: Ne2000Driver, cable: Cable, see: See) -> None:
    page = 0x47
    for to, length in ((MAC, 60), (MAC, 300), (PEER, 100), (BROADCAST, 1514)):
        cable.send(frame(to, length))
        if to == PEER:
            continue
        until(lambda: bool(driver.read(7) & 1))
        (header,) = driver.load(page << 8, 4, 4)
        see("header", header & ~0x20)
        see("frame", driver.load((page << 8) + 4, length & -4, 4))
        page = header >> 8 & 255
        driver.out((3, page - 1), (7, 0xFF))


def ne2000_register(driver: Ne2000Driver, see: See, rng: random.Random) -> None:
    """Read a register, and write it if that is harmless."""
    driver.out((0, 0x22 | rng.choice((0, 0x40, 0x80))))
    command, port = driver.read(0), rng.choice((0, 1, 2, 3, 7))
    see("register", (command, port, driver.read(port) if command & 0xC0 or port == 3 else 0))
    if command & 0x40 and port in (1, 2, 3):
        driver.out((port, rng.getrandbits(8)))


def e1000(side: Side, see: See, seed: int) -> None:
    """EEPROM, PHY, plain registers, every kind of transmit descriptor, receiving."""
    machine, cable = side
    rng = random.Random(seed)

    def read(offset: int) -> int:
        return machine.mmio(MEMORY + offset)

    def write(offset: int, value: int) -> None:
        machine.mmio_write(MEMORY + offset, value)

    words = []
    for address in range(64):
        write(0x14, address << 8 | 1)
        words.append(read(0x14) >> 16)
    see("sum of the EEPROM", sum(words) & 0xFFFF)
    see("address in the EEPROM", words[:3])
    for number in (2, 3):
        write(0x20, 2 << 26 | 1 << 21 | number << 16)
        see(f"PHY {number}", read(0x20) & 0xFFFF)
    see("receive address", (read(0x5400), read(0x5404)))
    for base, count in ((0x5200, 128), (0x5600, 128), (0x5408, 2)):
        for _ in range(20):
            offset = base + 4 * rng.randrange(count)
            write(offset, rng.getrandbits(32) & 0x8003FFFF)
            see(f"plain {offset:#x}", read(offset))
    for offset in range(0x5200, 0x5400, 4):
        write(offset, 0)
    e1000_sends(machine, cable, see)
    e1000_receives(machine, cable, see)


def e1000_sends(machine: Machine, cable: Cable, see: See) -> None:
    def read(offset: int) -> int:
        return machine.mmio(MEMORY + offset)

    def write(offset: int, value: int) -> None:
        machine.mmio_write(MEMORY + offset, value)

    ring, data = 0x10000, 0x20000
    for offset, value in ((0, 0x40), (0x3800, ring), (0x3808, 128), (0x3810, 0), (0x3818, 0), (0x400, 0xA)):
        write(offset, value)
    write(0xD0, 0x3)
    packet = tcp_packet(bytes(range(250)) * 12)
    machine.store(data, packet)
    # After a payload of whole segments QEMU sends one more, which is empty; the manual has none.
    cut = context(six=False, mss=1100)
    machine.store(ring, struct.pack("<QHBBBBH", data, 100, 0, 0x0B, 0, 0, 0))
    machine.store(ring + 16, packed(cut, len(packet) - cut.header))
    machine.store(ring + 32, struct.pack("<QIBBH", data, len(packet) | 1 << 20 | 0x2D << 24, 0, 3, 0))
    machine.store(ring + 48, struct.pack("<QHBBBBH", data, 60, 0, 0x00, 0, 0, 0))
    machine.store(ring + 64, struct.pack("<QHBBBBH", data, 60, 0, 0x09, 0, 0, 0))
    write(0x3818, 5)
    for _ in range(5):
        see("sent", cable.receive().hex())
    see("head", read(0x3810))
    see("written back", [machine.load(ring + 16 * index + 12, 1) for index in (0, 1, 2, 4)])
    machine.step(SECOND)
    see("line", machine.level())
    see("causes", read(0xC0) & 0x3)
    see("line after reading them", machine.level())
    see("frames counted", read(0x40D4))


def e1000_receives(machine: Machine, cable: Cable, see: See) -> None:
    def read(offset: int) -> int:
        return machine.mmio(MEMORY + offset)

    def write(offset: int, value: int) -> None:
        machine.mmio_write(MEMORY + offset, value)

    ring, data = 0x30000, 0x40000
    for index in range(8):
        machine.store(ring + 16 * index, struct.pack("<QQ", data + 0x1000 * index, 0))
    for offset, value in ((0x2800, ring), (0x2808, 128), (0x2810, 0), (0x2818, 7), (0x5000, 0x300)):
        write(offset, value)
    write(0x100, 0x8002 | 1 << 26)
    machine.step(2 * SECOND)
    index = 0
    for to, length in ((MAC, 60), (PEER, 100), (BROADCAST, 1000), (MAC, 1514)):
        cable.send(frame(to, length))
        if to != PEER:
            index += 1
            until(lambda: read(0x2810) == index)  # noqa: B023 - called at once
    for number in range(index):
        address, upper = struct.unpack("<QQ", machine.load(ring + 16 * number, 16))
        length = upper & 0xFFFF
        see("received", (length, upper >> 32 & 0x83, upper >> 40 & 0xFF, machine.load(address, length).hex()))
    see("causes", read(0xC0) & 0x80)


def packed(cut: Context, length: int) -> bytes:
    """A context descriptor for a packet with a payload of `length` bytes."""
    head = (cut.ipcss, cut.ipcso, cut.ipcse, cut.tucss, cut.tucso, cut.tucse)
    return struct.pack("<BBHBBHIBBH", *head, (cut.command | 0x24) << 24 | length, 0, cut.header, cut.mss)


def rtl8139(side: Side, see: See, seed: int) -> None:
    """Registers after a reset, sending, receiving."""
    machine, cable = side
    del seed
    ring, data = 0x10000, 0x30000

    def read(offset: int, size: int) -> int:
        return machine.port(IO + offset, size)

    def write(offset: int, size: int, value: int) -> None:
        machine.out(IO + offset, size, value)

    write(0x37, 1, 0x10)
    see("after a reset", [read(0x37, 1), read(0x3C, 2), read(0x3E, 2), read(0x38, 2), read(0x3A, 2)])
    see("address", [read(at, 1) for at in range(6)])
    see("transmit status", [read(0x10 + 4 * index, 4) & 0x2000 for index in range(4)])
    for offset, size, value in ((0x37, 1, 0x0C), (0x30, 4, ring), (0x44, 4, 0x070A), (0x3C, 2, 0x0005)):
        write(offset, size, value)
    for index, length in enumerate((60, 61, 1514, 300)):
        machine.store(data, frame(PEER, length))
        write(0x20 + 4 * index, 4, data)
        write(0x10 + 4 * index, 4, length)
        see("sent", cable.receive().hex())
        see("status", (read(0x10 + 4 * index, 4) & 0xFFFF, read(0x3E, 2), machine.level()))
        write(0x3E, 2, 0xFFFF)
        see("line", machine.level())
    for to, length in ((MAC, 60), (BROADCAST, 101), (MAC, 1514)):
        before = read(0x3A, 2)
        cable.send(frame(to, length))
        until(lambda: read(0x3A, 2) != before)  # noqa: B023 - called at once
        status, count = struct.unpack("<HH", machine.load(ring + before, 4))
        see("received", (status, count, machine.load(ring + before + 4, count - 4).hex()))
        see("place", (read(0x3A, 2), read(0x3E, 2), machine.level()))
        write(0x3E, 2, 0xFFFF)
        write(0x38, 2, read(0x3A, 2) - 16 & 0xFFFF)
        see("empty", read(0x37, 1))


def pcnet(side: Side, see: See, seed: int) -> None:
    """PROM, chip, initialization, sending, receiving, in 32-bit style."""
    machine, cable = side
    del seed
    block, rx, tx, data = 0x10000, 0x11000, 0x12000, 0x20000

    def select(number: int) -> None:
        machine.out(IO + 0x12, 2, number)

    def csr(number: int, value: int | None = None) -> int:
        select(number)
        if value is None:
            return machine.port(IO + 0x10, 2)
        machine.out(IO + 0x10, 2, value)
        return value

    def bcr(number: int, value: int) -> None:
        select(number)
        machine.out(IO + 0x16, 2, value)

    machine.port(IO + 0x14, 2)
    see("PROM", [machine.port(IO + at, 1) for at in (*range(6), 14, 15)])
    see("stopped", csr(0))
    see("chip", (csr(88), csr(89)))
    bcr(20, 2)
    machine.store(block, struct.pack("<HH6sH8sII", 0, 2 << 4 | 2 << 12, MAC, 0, bytes(8), rx, tx))
    for index in range(4):
        buffer = data + 0x1000 * (index + 4)
        machine.store(rx + 16 * index, struct.pack("<IIII", buffer, 0x80000000 | -1536 & 0xFFFF, 0, 0))
    for number, value in ((1, block & 0xFFFF), (2, block >> 16), (4, 0x0915), (0, 0x0001)):
        csr(number, value)
    see("initialized", csr(0) & 0x0181)
    csr(0, 0x0142)
    see("started", csr(0) & 0x0073)
    for index, length in enumerate((60, 61, 1514)):
        machine.store(data, frame(PEER, length))
        machine.store(tx + 16 * index, struct.pack("<IIII", data, 0x83000000 | -length & 0xFFFF, 0, 0))
        csr(0, 0x0048)
        see("sent", cable.receive().hex())
        see("status", (csr(0) & 0x0280, machine.load(tx + 16 * index + 7, 1), machine.level()))
        csr(0, 0x0240)
        see("line", machine.level())
    for index, (to, length) in enumerate(((MAC, 60), (BROADCAST, 101), (MAC, 1514))):
        cable.send(frame(to, length))
        until(lambda: bool(csr(0) & 0x0400))
        _, control, count, _ = struct.unpack("<IIII", machine.load(rx + 16 * index, 16))
        body = machine.load(data + 0x1000 * (index + 4), length)
        see("received", (control >> 24, count & 0xFFF, body.hex(), machine.level()))
        csr(0, 0x0440)


SCRIPTS = {"ne2k_pci": ne2000, "e1000": e1000, "rtl8139": rtl8139, "pcnet": pcnet}
