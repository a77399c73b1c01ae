"""Option ROMs (PCI Firmware Specification 3.0, chapter 5): made to fit the card they are put on."""

from __future__ import annotations

import struct
from pathlib import Path

from wirebay.cards.pci import Identity
from wirebay.errors import HostError, OptionError

SIGNATURE, DATA_SIGNATURE = b"\x55\xaa", b"PCIR"
POINTER = 0x18  # to the data structure
LONGEST = 1 << 24


def read_rom(path: str, identity: Identity) -> bytes:
    """The ROM in a file, for a card. Raises HostError if it cannot be read, OptionError if it is none."""
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise HostError(f"the ROM '{path}' cannot be read: {error.strerror}") from error
    if data[:2] != SIGNATURE or len(data) > LONGEST:
        raise OptionError(f"'{path}' is no option ROM")
    return fitted(data, identity)


def fitted(data: bytes, identity: Identity) -> bytes:
    """The ROM with the card's ids in its first image, and filled up to a power of two.

    Firmware skips images with other ids; Debian's iPXE for ne2k_pci comes with zeros.
    """
    rom = bytearray(data)
    (at,) = struct.unpack_from("<H", rom.ljust(POINTER + 2, b"\0"), POINTER)
    ids = struct.pack("<HH", identity.vendor, identity.device)
    if rom[at : at + 4] == DATA_SIGNATURE and rom[at + 4 : at + 8] != ids:
        rom[at + 4 : at + 8] = ids
        correct_checksum(rom)
    size = 1 << max(11, (len(rom) - 1).bit_length())
    return bytes(rom.ljust(size, b"\xff"))


def correct_checksum(rom: bytearray) -> None:
    """Make the bytes of the first image sum up to 0, by its last one; its length is byte 2, in 512 bytes."""
    end = min(rom[2] * 512, len(rom))
    rom[end - 1] = -sum(rom[: end - 1]) & 0xFF
