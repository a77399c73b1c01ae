"""The bits of a virtio network device (virtio 1.2, sections 2.1, 2.7, 4.1.4 and 5.1)."""

from __future__ import annotations

import struct

from wirebay.cards.register import Bits

VENDOR_CAPABILITY = 0x09
COMMON, NOTIFY, ISR, DEVICE = 1, 2, 3, 4  # cfg_type


class DeviceStatus(Bits):
    """Device status."""

    ACKNOWLEDGE = 0x01
    DRIVER = 0x02
    DRIVER_OK = 0x04
    FEATURES_OK = 0x08
    NEEDS_RESET = 0x40
    FAILED = 0x80


class IsrStatus(Bits):
    """ISR status."""

    QUEUE = 0x01
    CONFIG = 0x02


class Feature(Bits):
    """Features; their masks go beyond 32 bits."""

    MAC = 1 << 5
    STATUS = 1 << 16
    VERSION_1 = 1 << 32


class Descriptor(Bits):
    """Flags of a descriptor."""

    NEXT = 0x1
    WRITE = 0x2  # the device writes it
    INDIRECT = 0x4


def structure(kind: int, offset: int, length: int, multiplier: int | None = None) -> tuple[int, bytes]:
    """The capability that says where in BAR 0 a structure is (section 4.1.4)."""
    tail = b"" if multiplier is None else struct.pack("<I", multiplier)
    head = struct.pack("<BBBBHII", 16 + len(tail), kind, 0, 0, 0, offset, length)
    return VENDOR_CAPABILITY, head + tail
