"""A frame as named fields, by which the answers of two networks are compared.

Every checksum and length is verified here, and then left out, as is what no two stacks have alike: the
identification of IPv4 and the padding of short frames. Ports that nobody chose read "any".
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from tests.oracles.user import icmp, services
from tests.oracles.user.text import Fields, address_of, text
from tests.wire.inet import ICMP6, IPV6, pseudo_header
from tests.wire.packets import ACK, ARP, FIN, ICMP, IPV4, PSH, RST, SYN, TCP, UDP, checksum

FLAGS = ((SYN, "S"), (FIN, "F"), (RST, "R"), (PSH, "P"), (ACK, "A"), (32, "U"))
FIRST_ANY_PORT = 1024
# What scripts use above the well-known ports (script.py).
OUR_PORTS = range(4000, 8000)


@dataclass
class Seen:
    """One frame: what it is ("tcp"), its fields, and what conversations need of it."""

    kind: str
    fields: Fields
    source: tuple[str, int] = ("", 0)
    destination: tuple[str, int] = ("", 0)
    payload: bytes = b""
    mac: bytes = b""
    numbers: dict[str, int] = field(default_factory=dict)


def mac_text(mac: bytes) -> str:
    return mac.hex(":")


def port_text(port: int) -> str:
    return str(port) if port < FIRST_ANY_PORT or port in OUR_PORTS else "any"


def dissect(frame: bytes) -> Seen:
    """Take a frame apart. Raises AssertionError where a checksum or a length is wrong."""
    (kind,) = struct.unpack_from("!H", frame, 12)
    seen = {ARP: _arp, IPV4: _ipv4, IPV6: _ipv6}.get(kind, _unknown)(frame[14:])
    seen.mac = frame[6:12]
    seen.fields |= {"eth.dst": mac_text(frame[:6]), "eth.src": mac_text(frame[6:12])}
    return seen


def _unknown(data: bytes) -> Seen:
    return Seen("unknown", {"data": text(data)})


def _arp(data: bytes) -> Seen:
    head, operation = data[:6], int.from_bytes(data[6:8], "big")
    assert head == b"\0\1\x08\0\6\4"
    ends = {"sender": data[8:18], "target": data[18:28]}
    fields = {f"arp.{end}.mac": mac_text(value[:6]) for end, value in ends.items()}
    fields |= {f"arp.{end}": str(address_of(value[6:])) for end, value in ends.items()}
    return Seen(
        "arp",
        {"arp.operation": str(operation), **fields},
        (fields["arp.sender"], 0),
        (fields["arp.target"], 0),
    )


def _ipv4(data: bytes) -> Seen:
    header = (data[0] & 15) * 4
    (length, _, fragment) = struct.unpack_from("!HHH", data, 2)
    assert data[0] >> 4 == 4
    assert checksum(data[:header]) == 0
    assert header <= length <= len(data)
    source, destination = address_of(data[12:16]), address_of(data[16:20])
    fields = {
        "ip.source": source,
        "ip.destination": destination,
        "ip.tos": str(data[1]),
        "ip.ttl": str(data[8]),
        "ip.df": str(fragment >> 14 & 1),
        "ip.options": text(data[20:header]),
    }
    if fragment & 0x3FFF:
        place = f"{(fragment & 0x1FFF) * 8}+{length - header}{'+' if fragment & 0x2000 else ''}"
        return Seen("fragment", fields | {"ip.fragment": place})
    return _transport(data[9], source, destination, data[header:length], fields)


def _ipv6(data: bytes) -> Seen:
    first, length, protocol, hops = struct.unpack_from("!IHBB", data)
    assert first >> 28 == 6
    assert 40 + length <= len(data)
    source, destination = address_of(data[8:24]), address_of(data[24:40])
    fields = {
        "ip.source": source,
        "ip.destination": destination,
        "ip.tos": str(first >> 20 & 0xFF),
        "ip.ttl": str(hops),
    }
    return _transport(protocol, source, destination, data[40 : 40 + length], fields)


def _transport(protocol: int, source: str, destination: str, data: bytes, fields: Fields) -> Seen:
    covered = b"" if protocol == ICMP else pseudo_header(protocol, source, destination, len(data))
    assert checksum(covered + data) == 0, f"wrong checksum of protocol {protocol}"
    ends = (source, destination)
    if protocol == TCP:
        return _tcp(ends, data, fields)
    if protocol == UDP:
        return _udp(ends, data, fields)
    if protocol in (ICMP, ICMP6):
        kind, more = icmp.dissect(protocol, data)
        return Seen(kind, fields | more, (source, 0), (destination, 0), data)
    return Seen("unknown", fields | {"ip.protocol": str(protocol)})


def _udp(ends: tuple[str, str], data: bytes, fields: Fields) -> Seen:
    sport, dport, length, _ = struct.unpack_from("!HHHH", data)
    assert length == len(data)
    kind, more = services.dissect(sport, dport, data[8:])
    fields |= {"udp.source": port_text(sport), "udp.destination": port_text(dport)} | more
    return Seen(kind, fields, (ends[0], sport), (ends[1], dport), data[8:])


def _tcp(ends: tuple[str, str], data: bytes, fields: Fields) -> Seen:
    sport, dport, seq, ack, offset, flags, window = struct.unpack_from("!HHIIBBH", data)
    header = (offset >> 4) * 4
    assert 20 <= header <= len(data)
    fields |= {
        "tcp.source": port_text(sport),
        "tcp.destination": port_text(dport),
        "tcp.flags": "".join(letter for bit, letter in FLAGS if flags & bit),
        # How much is a matter of policy.
        "tcp.window": "open" if window else "shut",
        "tcp.payload": text(data[header:]),
        **tcp_options(data[20:header]),
    }
    numbers = {"seq": seq, "ack": ack, "flags": flags}
    return Seen("tcp", fields, (ends[0], sport), (ends[1], dport), data[header:], numbers=numbers)


OPTIONS = {2: "mss", 3: "window_scale", 4: "sack_permitted", 5: "sack", 8: "timestamps"}


def tcp_options(data: bytes) -> Fields:
    """A field for each option; times are left out."""
    found: Fields = {}
    while data and data[0] != 0:
        if data[0] == 1:
            data = data[1:]
            continue
        assert 2 <= data[1] <= len(data)
        value = "there" if data[0] == 8 else str(int.from_bytes(data[2 : data[1]], "big"))
        found[f"tcp.{OPTIONS.get(data[0], data[0])}"] = value
        data = data[data[1] :]
    return found
