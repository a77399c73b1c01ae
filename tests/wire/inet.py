"""IPv6 beside IPv4 by hand: packets of either family from addresses as text, and neighbour discovery."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address, ip_address

from tests.wire.packets import ACK, TCP, UDP, Segment, checksum, ethernet

IPV6 = 0x86DD
ICMP6 = 58
ALL_NODES, ALL_ROUTERS, ALL_DHCP = "ff02::1", "ff02::2", "ff02::1:2"
ROUTER_SOLICITATION, ROUTER_ADVERTISEMENT = 133, 134
NEIGHBOUR_SOLICITATION, NEIGHBOUR_ADVERTISEMENT = 135, 136
Endpoint = tuple[str, int]


def address(text: str) -> IPv4Address | IPv6Address:
    return ip_address(text)


def pseudo_header(protocol: int, source: str, destination: str, length: int) -> bytes:
    """What the checksum of a transport covers besides it (RFC 9293 3.1, RFC 8200 8.1)."""
    both = address(source).packed + address(destination).packed
    return both + (
        struct.pack("!I3xB", length, protocol) if len(both) > 8 else struct.pack("!HH", protocol, length)
    )


def sealed(protocol: int, source: str, destination: str, transport: bytes, at: int) -> bytes:
    """The transport's bytes with the checksum put in at offset `at`, where zeros are."""
    check = checksum(pseudo_header(protocol, source, destination, len(transport)) + transport)
    # A datagram's zero would say that there is none (RFC 768).
    check = check or (0xFFFF if protocol == UDP else 0)
    return transport[:at] + struct.pack("!H", check) + transport[at + 2 :]


def ip(protocol: int, source: str, destination: str, payload: bytes, *, ttl: int = 64) -> bytes:
    """A packet of the family of its addresses; `ttl` is the hop limit too."""
    addresses = address(source).packed + address(destination).packed
    if len(addresses) > 8:
        return struct.pack("!IHBB", 6 << 28, len(payload), protocol, ttl) + addresses + payload
    start = struct.pack("!BBHHHBB", 0x45, 0, 20 + len(payload), 1, 0, ttl, protocol)
    return start + struct.pack("!H", checksum(start + b"\0\0" + addresses)) + addresses + payload


def pieces(packet: bytes, size: int) -> list[bytes]:
    """An IPv4 packet as fragments with `size` bytes of payload each, a multiple of 8 (RFC 791 3.2)."""
    header, payload, found = packet[:20], packet[20:], []
    for at in range(0, len(payload), size):
        part, more = payload[at : at + size], at + size < len(payload)
        start = header[:2] + struct.pack("!HHH", 20 + len(part), 77, more << 13 | at // 8) + header[8:10]
        found.append(start + struct.pack("!H", checksum(start + b"\0\0" + header[12:])) + header[12:] + part)
    return found


def datagram(source: Endpoint, destination: Endpoint, data: bytes, *, ttl: int = 64) -> bytes:
    """A UDP datagram in its packet."""
    udp = struct.pack("!HHHH", source[1], destination[1], 8 + len(data), 0) + data
    return ip(UDP, source[0], destination[0], sealed(UDP, source[0], destination[0], udp, 6), ttl=ttl)


def segment(what: Segment, *, window: int = 65535) -> bytes:
    """A TCP segment in its packet."""
    offset = (20 + len(what.options)) // 4 << 4
    (source, sport), (destination, dport) = what.source, what.destination
    ack = what.ack if what.flags & ACK else 0
    start = struct.pack("!HHIIBBHHH", sport, dport, what.seq, ack, offset, what.flags, window, 0, 0)
    tcp = start + what.options + what.payload
    return ip(TCP, source, destination, sealed(TCP, source, destination, tcp, 16))


def icmp6(source: str, destination: str, kind: int, body: bytes, *, code: int = 0, hops: int = 255) -> bytes:
    """An ICMPv6 message in its packet; `body` follows the checksum."""
    message = struct.pack("!BBH", kind, code, 0) + body
    return ip(ICMP6, source, destination, sealed(ICMP6, source, destination, message, 2), ttl=hops)


def group_mac(destination: str) -> bytes:
    """The Ethernet address of an IPv6 multicast group (RFC 2464 7)."""
    return b"\x33\x33" + address(destination).packed[-4:]


def solicited_node(target: str) -> str:
    """The group that `target` is asked for in (RFC 4291 2.7.1)."""
    return str(IPv6Address(IPv6Address("ff02::1:ff00:0").packed[:13] + address(target).packed[13:]))


def link_local(mac: bytes) -> str:
    """The address a card gives itself (RFC 4291 appendix A)."""
    ident = bytes((mac[0] ^ 2, *mac[1:3], 0xFF, 0xFE, *mac[3:]))
    return str(IPv6Address(b"\xfe\x80" + bytes(6) + ident))


def with_prefix(prefix: str, mac: bytes) -> str:
    """The address a card gives itself below a prefix of 64 bits (RFC 4862)."""
    return str(IPv6Address(address(prefix).packed[:8] + address(link_local(mac)).packed[8:]))


def solicitation(mac: bytes, source: str, target: str) -> bytes:
    """A frame that asks who has `target` (RFC 4861 4.3)."""
    group = solicited_node(target)
    # From the unspecified address it asks whether the address is free, without a link-layer address.
    option = b"" if source == "::" else b"\x01\x01" + mac
    body = bytes(4) + address(target).packed + option
    return ethernet(group_mac(group), mac, IPV6, icmp6(source, group, NEIGHBOUR_SOLICITATION, body))


def advertisement(mac: bytes, target: str, to_mac: bytes, to: str) -> bytes:
    """A frame that answers a solicitation (RFC 4861 4.4)."""
    body = b"\x60\0\0\0" + address(target).packed + b"\x02\x01" + mac
    return ethernet(to_mac, mac, IPV6, icmp6(target, to, NEIGHBOUR_ADVERTISEMENT, body))
