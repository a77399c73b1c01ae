"""What cards do with Ethernet addresses and checksums."""

from __future__ import annotations

import zlib

BROADCAST = b"\xff" * 6
LEAST_FRAME = 60  # bytes without the checksum


def checksum(frame: bytes) -> bytes:
    """The frame check sequence, as it follows the frame on the wire (IEEE 802.3 section 3.2.9)."""
    return zlib.crc32(frame).to_bytes(4, "little")


def hash_bit(address: bytes) -> int:
    """Which of 64 filter bits an address belongs to: the upper six bits of its CRC, most significant first.

    So in the DP8390, the RTL8139 and many others; the CRC is not inverted at the end.
    """
    crc = ~zlib.crc32(address[:6]) & 0x3F
    return int(f"{crc:06b}"[::-1], 2)


def is_multicast(frame: bytes) -> bool:
    """Whether the frame goes to a group; the broadcast address is one."""
    return bool(frame[0] & 1)


def padded(frame: bytes) -> bytes:
    """The frame, at least as long as the wire wants it."""
    return frame.ljust(LEAST_FRAME, b"\0")
