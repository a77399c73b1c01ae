"""DHCP as a service of the service channel."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

from wirebay.services.channel import Datagram
from wirebay.services.dhcp import DhcpConfig, DhcpServer, dhcp_handler
from wirebay.services.dhcp_message import DhcpMessage, decode, encode

CONFIG = DhcpConfig(
    net=IPv4Network("10.0.2.0/24"),
    host=IPv4Address("10.0.2.2"),
    dns=IPv4Address("10.0.2.3"),
    first=IPv4Address("10.0.2.15"),
)
MAC = bytes.fromhex("525400123456")
BROADCAST = IPv4Address("255.255.255.255")
DISCOVER = encode(DhcpMessage(op=1, xid=1, chaddr=MAC, options={53: b"\1"}))


def datagram(payload: bytes) -> Datagram:
    return Datagram(
        mac=MAC,
        source=IPv4Address(0),
        destination=BROADCAST,
        source_port=68,
        destination_port=67,
        payload=payload,
    )


def test_an_answer_is_broadcast_by_the_host() -> None:
    (answer,) = dhcp_handler(DhcpServer(CONFIG), lambda: 5.0)(datagram(DISCOVER))
    assert (answer.mac, answer.source, answer.destination) == (b"\xff" * 6, CONFIG.host, BROADCAST)
    assert (answer.source_port, answer.destination_port) == (67, 68)
    assert decode(answer.payload).yiaddr == IPv4Address("10.0.2.15")


def test_what_is_not_answered_gets_nothing() -> None:
    server = DhcpServer(CONFIG)
    assert list(dhcp_handler(server, lambda: 5.0)(datagram(b""))) == []
    assert server.drops == {"malformed": 1}
