"""How a card appears on PCI: its configuration space (PCI 3.0 chapter 6), its BARs and its capabilities."""

from __future__ import annotations

import struct
from dataclasses import dataclass

CONFIG = 256
COMMAND_BITS = 0x0547  # I/O, memory, bus master, parity, SERR, interrupt disable
HAS_CAPABILITIES = 0x10
MSIX = 0x11
FIRST_CAPABILITY = 0x40
NETWORK = 0x020000  # class code: Ethernet controller


@dataclass(frozen=True, slots=True)
class Bar:
    """A base address register: `size` in bytes, a power of two; `io`: ports, else 32-bit memory."""

    size: int
    io: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Identity:
    """Ids and resources. `capabilities`: id, and what follows the link byte. `latency`: MIN_GNT, MAX_LAT."""

    vendor: int
    device: int
    bars: tuple[Bar, ...]
    class_code: int = NETWORK
    revision: int = 0
    sub_vendor: int = 0
    sub_device: int = 0
    vectors: int = 0
    latency: tuple[int, int] = (0, 0)
    capabilities: tuple[tuple[int, bytes], ...] = ()

    @property
    def bar_sizes(self) -> tuple[int, ...]:
        """The sizes of all six BARs, 0 for none."""
        sizes = [bar.size for bar in self.bars]
        return (*sizes, *[0] * (6 - len(sizes)))

    def config(self, rom_size: int = 0) -> tuple[bytes, bytes]:
        """The configuration space after a reset, and its bits that can be written; with a ROM so long."""
        space, writable = bytearray(CONFIG), bytearray(CONFIG)
        struct.pack_into("<HHHH", space, 0, self.vendor, self.device, 0, 0)
        struct.pack_into("<I", space, 8, self.class_code << 8 | self.revision)
        struct.pack_into("<HH", space, 0x2C, self.sub_vendor, self.sub_device)
        space[0x3D:0x40] = bytes((1, *self.latency))  # the pin is INTA
        struct.pack_into("<H", writable, 4, COMMAND_BITS)
        writable[0x0C:0x0E] = b"\xff\xff"  # cache line size, latency timer
        writable[0x3C] = 0xFF  # interrupt line
        for number, bar in enumerate(self.bars):
            space[0x10 + 4 * number] = int(bar.io)
            struct.pack_into("<I", writable, 0x10 + 4 * number, -bar.size & 0xFFFFFFFF)
        if rom_size:
            struct.pack_into("<I", writable, 0x30, -rom_size & 0xFFFFFFFF | 1)
        self._chain(space, writable)
        return bytes(space), bytes(writable)

    def _chain(self, space: bytearray, writable: bytearray) -> None:
        """Write the capabilities one behind the other, each 4-byte aligned and linked to the next."""
        link, place = 0x34, FIRST_CAPABILITY
        for number, rest in self.capabilities:
            space[6] |= HAS_CAPABILITIES
            space[link] = place
            space[place] = number
            space[place + 2 : place + 2 + len(rest)] = rest
            if number == MSIX:
                writable[place + 3] = 0xC0  # enable, mask all
            link, place = place + 1, place + (2 + len(rest) + 3) // 4 * 4


def msix(vectors: int, bar: int, table: int, pending: int) -> tuple[int, bytes]:
    """The MSI-X capability (PCI 3.0 section 6.8.2): the BAR, and the offsets of both tables in it."""
    return MSIX, struct.pack("<HII", vectors - 1, table | bar, pending | bar)
