"""DHCP, DHCPv6, DNS and TFTP as named fields."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address

from tests.oracles.user.text import Fields, text
from tests.wire.packets import COOKIE

DHCP, DNS, TFTP, DHCP6 = (67, 68), 53, 69, (546, 547)
# The guest's ports that it asks for files from (script.py).
TFTP_CLIENTS = range(6900, 7000)
ADDRESSES = {1, 3, 6, 28, 54}
NUMBERS = {26, 51, 53, 58, 59}


def dissect(sport: int, dport: int, data: bytes) -> tuple[str, Fields]:
    """What the datagram is, and its fields."""
    if sport in DHCP and dport in DHCP:
        return "dhcp", dhcp(data)
    if dport in DHCP6:
        return "dhcp6", dhcp6(data)
    if sport == DNS:
        return "dns", {"dns.message": text(data)}
    if dport in TFTP_CLIENTS:
        return "tftp error" if data[:2] == b"\0\5" else "tftp", tftp(data)
    return "udp", {"udp.payload": text(data)}


def dhcp(data: bytes) -> Fields:
    """RFC 2131 2 and 2132; options in their order too, since some clients mind it."""
    operation, hardware, length, hops, xid, seconds, flags = struct.unpack_from("!BBBBIHH", data)
    addresses = struct.unpack_from("4s4s4s4s", data, 12)
    fields = {
        "dhcp.operation": str(operation),
        "dhcp.hardware": f"{hardware}/{length}",
        "dhcp.hops": str(hops),
        "dhcp.xid": f"{xid:#x}",
        "dhcp.seconds": str(seconds),
        "dhcp.flags": f"{flags:#06x}",
        "dhcp.chaddr": data[28:44].hex(),
        "dhcp.sname": text(data[44:108].rstrip(b"\0")),
        "dhcp.file": text(data[108:236].rstrip(b"\0")),
        "dhcp.size": str(len(data)),
    }
    for name, value in zip(("ciaddr", "yiaddr", "siaddr", "giaddr"), addresses, strict=True):
        fields[f"dhcp.{name}"] = str(IPv4Address(value))
    assert data[236:240] == COOKIE
    options = dict(_dhcp_options(data[240:]))
    fields["dhcp.order"] = " ".join(map(str, options))
    return fields | {f"dhcp.{code}": _dhcp_value(code, value) for code, value in options.items()}


def _dhcp_options(data: bytes) -> list[tuple[int, bytes]]:
    options = []
    while data and data[0] != 255:
        if data[0] == 0:
            data = data[1:]
            continue
        assert 2 + data[1] <= len(data)
        options.append((data[0], data[2 : 2 + data[1]]))
        data = data[2 + data[1] :]
    assert data, "no end of the options"
    return options


def _dhcp_value(code: int, value: bytes) -> str:
    if code in ADDRESSES:
        return ",".join(str(IPv4Address(value[at : at + 4])) for at in range(0, len(value), 4))
    return str(int.from_bytes(value, "big")) if code in NUMBERS else text(value)


def dhcp6(data: bytes) -> Fields:
    """RFC 8415 8 and 21: what is in an option is compared as it is."""
    fields = {"dhcp6.type": str(data[0]), "dhcp6.transaction": data[1:4].hex()}
    data, order = data[4:], []
    while data:
        code, length = struct.unpack_from("!HH", data)
        assert 4 + length <= len(data)
        value = data[4 : 4 + length]
        order.append(str(code))
        # A server's identity is its own affair.
        fields[f"dhcp6.{code}"] = "there" if code == 2 else text(value)
        data = data[4 + length :]
    return fields | {"dhcp6.order": " ".join(order)}


def tftp(data: bytes) -> Fields:
    """RFC 1350 5 and 2347."""
    (code,) = struct.unpack_from("!H", data)
    fields = {"tftp.opcode": str(code)}
    if code == 6:
        words = data[2:].split(b"\0")
        assert words.pop() == b""
        pairs = zip(words[::2], words[1::2], strict=True)
        return fields | {f"tftp.option.{name.decode()}": value.decode() for name, value in pairs}
    (number,) = struct.unpack_from("!H", data, 2)
    fields["tftp.number"] = str(number)
    rest = data[4:]
    if code == 5:
        assert rest.endswith(b"\0")
        return fields | {"tftp.message": rest[:-1].decode()}
    return fields | {"tftp.length": str(len(rest)), "tftp.start": text(rest[:16])}
