"""Internet checksums (RFC 1071), put into frames and looked at, as cards do it: by offsets."""

from __future__ import annotations

ETHERNET = 14
IPV4, IPV6 = 0x0800, 0x86DD
TCP, UDP = 6, 17


def total(data: bytes) -> int:
    """The one's complement sum of the 16-bit words; an odd byte at the end counts as a word's upper one."""
    if len(data) % 2:
        data += b"\0"
    # 2**16 is 1 modulo 2**16 - 1, so the remainder is the sum with its carries; 0 and 0xFFFF are both zero.
    remainder = int.from_bytes(data, "big") % 0xFFFF
    return remainder or (0xFFFF if any(data) else 0)


def insert(frame: bytearray, start: int, place: int, end: int) -> None:
    """Put the checksum of `start` to `end` (inclusive; 0: all that follows) to `place`.

    What lies at `place` before is part of the sum: a driver puts that of the pseudo header there. Offsets
    outside of the frame do nothing.
    """
    stop = end + 1 if end else len(frame)
    if start < min(stop, len(frame)) and place + 2 <= len(frame):
        value = ~total(bytes(frame[start:stop])) & 0xFFFF
        frame[place : place + 2] = (value or 0xFFFF).to_bytes(2, "big")


def looked_at(frame: bytes) -> tuple[bool | None, bool | None]:
    """Whether the checksum of IPv4, and that of TCP or UDP over IPv4 or IPv6, is right; None: there is none.

    Fragments and packets with options of IPv6 have none here.
    """
    kind = int.from_bytes(frame[12:14], "big")
    packet = frame[ETHERNET:]
    if kind == IPV4 and len(packet) >= 20:
        return _ipv4(packet)
    if kind == IPV6 and len(packet) >= 40:
        length = int.from_bytes(packet[4:6], "big")
        return None, _transport(packet[6], packet[8:40], packet[40 : 40 + length], length)
    return None, None


def _ipv4(packet: bytes) -> tuple[bool | None, bool | None]:
    header, length = (packet[0] & 0xF) * 4, int.from_bytes(packet[2:4], "big")
    if not 20 <= header <= length <= len(packet):
        return None, None
    right = total(packet[:header]) == 0xFFFF
    if int.from_bytes(packet[6:8], "big") & 0x3FFF:
        return right, None
    return right, _transport(packet[9], packet[12:20], packet[header:length], length - header)


def _transport(protocol: int, addresses: bytes, segment: bytes, length: int) -> bool | None:
    place = {TCP: 16, UDP: 6}.get(protocol)
    if place is None or len(segment) < place + 2 or len(segment) != length:
        return None
    if protocol == UDP and segment[6:8] == b"\0\0":
        return None
    pseudo = addresses + length.to_bytes(4, "big") + bytes((0, 0, 0, protocol))
    return total(pseudo + segment) == 0xFFFF
