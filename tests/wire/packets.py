"""Ethernet, ARP, IPv4, UDP, TCP and DHCP by hand: enough to be a guest, nothing of the code under test."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address

BROADCAST = b"\xff" * 6
ARP, IPV4 = 0x0806, 0x0800
ICMP, TCP, UDP = 1, 6, 17
FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    data += bytes(len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def ethernet(destination: bytes, source: bytes, kind: int, payload: bytes) -> bytes:
    return destination + source + struct.pack("!H", kind) + payload


def arp(operation: int, mac: bytes, address: str, target_mac: bytes, target: str) -> bytes:
    header = struct.pack("!HHBBH", 1, IPV4, 6, 4, operation)
    return header + mac + IPv4Address(address).packed + target_mac + IPv4Address(target).packed


def ipv4(protocol: int, source: str, destination: str, payload: bytes) -> bytes:
    addresses = IPv4Address(source).packed + IPv4Address(destination).packed
    start = struct.pack("!BBHHHBB", 0x45, 0, 20 + len(payload), 1, 0, 64, protocol)
    return start + struct.pack("!H", checksum(start + b"\0\0" + addresses)) + addresses + payload


def pseudo_header(protocol: int, source: str, destination: str, length: int) -> bytes:
    return IPv4Address(source).packed + IPv4Address(destination).packed + struct.pack("!HH", protocol, length)


def udp(source: tuple[str, int], destination: tuple[str, int], payload: bytes) -> bytes:
    """An IPv4 packet with a datagram."""
    header = struct.pack("!HHH", source[1], destination[1], 8 + len(payload))
    pseudo = pseudo_header(UDP, source[0], destination[0], 8 + len(payload))
    check = checksum(pseudo + header + b"\0\0" + payload) or 0xFFFF
    return ipv4(UDP, source[0], destination[0], header + struct.pack("!H", check) + payload)


@dataclass(frozen=True)
class Segment:
    """A TCP segment with its addresses."""

    source: tuple[str, int]
    destination: tuple[str, int]
    seq: int
    ack: int
    flags: int
    payload: bytes = b""
    options: bytes = b""

    def pack(self) -> bytes:
        """An IPv4 packet."""
        offset = (20 + len(self.options)) // 4 << 4
        start = struct.pack(
            "!HHIIBBH", self.source[1], self.destination[1], self.seq, self.ack, offset, self.flags, 65535
        )
        length = 20 + len(self.options) + len(self.payload)
        pseudo = pseudo_header(TCP, self.source[0], self.destination[0], length)
        check = checksum(pseudo + start + bytes(4) + self.options + self.payload)
        tcp = start + struct.pack("!HH", check, 0) + self.options + self.payload
        return ipv4(TCP, self.source[0], self.destination[0], tcp)


@dataclass(frozen=True)
class Packet:
    """An IPv4 packet taken apart, its checksum verified; `payload` is what the IPv4 header carries."""

    protocol: int
    source: str
    destination: str
    payload: bytes


def parse_ipv4(data: bytes) -> Packet:
    header = (data[0] & 15) * 4
    (length,) = struct.unpack_from("!H", data, 2)
    assert data[0] >> 4 == 4
    assert checksum(data[:header]) == 0
    source, destination = (str(IPv4Address(data[i : i + 4])) for i in (12, 16))
    return Packet(data[9], source, destination, data[header:length])


def check_transport(packet: Packet) -> None:
    """The checksum of the datagram or segment is right."""
    pseudo = pseudo_header(packet.protocol, packet.source, packet.destination, len(packet.payload))
    assert checksum(pseudo + packet.payload) == 0


def parse_udp(packet: Packet) -> tuple[tuple[str, int], tuple[str, int], bytes]:
    check_transport(packet)
    source, destination, length, _ = struct.unpack_from("!HHHH", packet.payload)
    return (packet.source, source), (packet.destination, destination), packet.payload[8:length]


def parse_tcp(packet: Packet) -> Segment:
    check_transport(packet)
    source, destination, seq, ack, offset, flags = struct.unpack_from("!HHIIBB", packet.payload)
    header = (offset >> 4) * 4
    return Segment(
        source=(packet.source, source),
        destination=(packet.destination, destination),
        seq=seq,
        ack=ack,
        flags=flags,
        payload=packet.payload[header:],
        options=packet.payload[20:header],
    )


def echo_request(number: int, data: bytes, *, kind: int = 8) -> bytes:
    """An ICMP echo request (8) or reply (0)."""
    rest = struct.pack("!HH", 7, number) + data
    return struct.pack("!BBH", kind, 0, checksum(bytes((kind, 0, 0, 0)) + rest)) + rest


COOKIE = b"\x63\x82\x53\x63"


def dhcp(mac: bytes, options: dict[int, bytes]) -> bytes:
    """A DHCP request with these options."""
    fixed = struct.pack("!BBBBIHH16x16s192x", 1, 1, 6, 0, 0x1234, 0, 0, mac)
    body = b"".join(bytes((code, len(value))) + value for code, value in options.items())
    return fixed + COOKIE + body + b"\xff"


def parse_dhcp(data: bytes) -> tuple[str, dict[int, bytes]]:
    """The address given and the options of a DHCP reply."""
    assert data[0] == 2
    assert data[236:240] == COOKIE
    options, at = {}, 240
    while data[at] != 255:
        if data[at] == 0:
            at += 1
            continue
        options[data[at]] = data[at + 2 : at + 2 + data[at + 1]]
        at += 2 + data[at + 1]
    return str(IPv4Address(data[16:20])), options
