"""ICMP of both families as named fields: echo, errors with what they quote, neighbours and routers."""

from __future__ import annotations

import struct
from ipaddress import IPv6Address

from tests.oracles.user.text import Fields, address_of, text
from tests.wire.packets import ICMP, TCP, UDP

ECHOES = {(ICMP, 0): "reply", (ICMP, 8): "request", (58, 129): "reply", (58, 128): "request"}
V4_ERRORS = (3, 4, 5, 11, 12)
LINK_LAYER, PREFIX, MTU, RDNSS, DNSSL = (1, 2), 3, 5, 25, 31


def dissect(protocol: int, data: bytes) -> tuple[str, Fields]:
    """What it is, and its fields."""
    kind, code = data[0], data[1]
    fields = {"icmp.type": str(kind), "icmp.code": str(code)}
    if (protocol, kind) in ECHOES:
        ident, number = struct.unpack_from("!HH", data, 4)
        return "echo", fields | {
            "icmp.ident": str(ident),
            "icmp.number": str(number),
            "icmp.data": text(data[8:]),
        }
    if protocol == ICMP:
        return "error", fields | (_error(data) if kind in V4_ERRORS else {})
    if kind < 128:
        return "error", fields | _error(data)
    return {134: "ra", 135: "ns", 136: "na"}.get(kind, "icmp"), fields | _discovery(kind, data)


def _error(data: bytes) -> Fields:
    fields = {"icmp.rest": data[4:8].hex()}
    quoted = data[8:]
    if len(quoted) >= 20:
        fields |= _quoted(quoted)
    return fields


def _quoted(packet: bytes) -> Fields:
    if packet[0] >> 4 == 4:
        protocol, rest, ends = packet[9], packet[(packet[0] & 15) * 4 :], (packet[12:16], packet[16:20])
    else:
        protocol, rest, ends = packet[6], packet[40:], (packet[8:24], packet[24:40])
    fields = {"quoted.protocol": str(protocol)}
    fields |= {
        f"quoted.{name}": address_of(end) for name, end in zip(("source", "destination"), ends, strict=True)
    }
    if protocol in (TCP, UDP):
        fields["quoted.ports"] = "-".join(map(str, struct.unpack_from("!HH", rest)))
    # RFC 792 wants eight bytes; more is good.
    fields["quoted.enough"] = str(len(rest) >= 8)
    return fields


def _discovery(kind: int, data: bytes) -> Fields:
    if kind == 134:
        hops, flags, lifetime, reachable, retransmit = struct.unpack_from("!BBHII", data, 4)
        fields = {
            "ra.hops": str(hops),
            "ra.flags": f"{flags:#04x}",
            "ra.lifetime": str(lifetime),
            "ra.reachable": str(reachable),
            "ra.retransmit": str(retransmit),
        }
        return fields | _options(data[16:])
    if kind in (135, 136):
        fields = {"nd.flags": f"{data[4]:#04x}", "nd.target": str(IPv6Address(data[8:24]))}
        return fields | _options(data[24:])
    return {"icmp.data": text(data[4:])}


def _options(data: bytes) -> Fields:
    """The options of a message of neighbour discovery (RFC 4861 4.6, RFC 8106)."""
    fields: Fields = {}
    while data:
        kind, length = data[0], data[1] * 8
        assert 8 <= length <= len(data)
        fields |= _option(kind, data[2:length])
        data = data[length:]
    return fields


def _option(kind: int, body: bytes) -> Fields:
    if kind in LINK_LAYER:
        return {f"nd.link_layer.{kind}": body[:6].hex(":")}
    if kind == PREFIX:
        length, flags, valid, preferred = struct.unpack_from("!BBII", body)
        return {
            "ra.prefix": f"{IPv6Address(body[14:30])}/{length}",
            "ra.prefix.flags": f"{flags:#04x}",
            "ra.prefix.valid": str(valid),
            "ra.prefix.preferred": str(preferred),
        }
    if kind == MTU:
        return {"ra.mtu": str(struct.unpack_from("!I", body, 2)[0])}
    if kind == RDNSS:
        servers = [str(IPv6Address(body[at : at + 16])) for at in range(6, len(body), 16)]
        return {"ra.rdnss": ",".join(servers), "ra.rdnss.lifetime": str(struct.unpack_from("!I", body, 2)[0])}
    return {f"nd.option.{kind}": body.hex()}
