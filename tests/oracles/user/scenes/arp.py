"""Who answers ARP: the network's own addresses, and nothing else."""

from __future__ import annotations

from tests.oracles.user.script import HELLO, Do, Scene, Step, asks_arp, kind, sends_frame
from tests.oracles.user.stage import GATEWAY, GUEST, MAC
from tests.wire.packets import ARP, BROADCAST, arp, ethernet


def asks(mac: bytes, request: bytes) -> Do:
    return sends_frame(ethernet(mac, MAC, ARP, request))


ARP_SCENE = Scene(
    "arp",
    [
        HELLO,
        Step("DNS", asks_arp("10.0.2.3"), kind("arp")),
        Step("before it has an address", asks_arp(GATEWAY, sender="0.0.0.0"), kind("arp")),
        Step("from another network", asks_arp(GATEWAY, sender="192.168.1.1"), kind("arp")),
        Step(
            "asked of one machine",
            asks(bytes.fromhex("52550a000202"), arp(1, MAC, GUEST, bytes(6), GATEWAY)),
            kind("arp"),
        ),
        Step("SMB, which is not there", asks_arp("10.0.2.4")),
        Step("the network", asks_arp("10.0.2.0")),
        Step("the broadcast address", asks_arp("10.0.2.255")),
        Step("nobody", asks_arp("10.0.2.77")),
        Step("another network", asks_arp("192.168.1.1")),
        Step("the guest itself", asks_arp(GUEST)),
        Step("itself, before it has an address", asks_arp(GUEST, sender="0.0.0.0")),
        Step("an answer", asks(BROADCAST, arp(2, MAC, GUEST, MAC, GUEST))),
        Step("a request that is cut short", asks(BROADCAST, arp(1, MAC, GUEST, bytes(6), GATEWAY)[:20])),
    ],
)

OTHER_NETWORK = Scene(
    "arp in another network",
    [
        Step("host", asks_arp("192.168.7.1", sender="192.168.7.9"), kind("arp")),
        Step("DNS", asks_arp("192.168.7.2", sender="192.168.7.9"), kind("arp")),
    ],
    "net=192.168.7.0/24,host=192.168.7.1,dns=192.168.7.2,dhcpstart=192.168.7.9",
)

SCENES = (ARP_SCENE, OTHER_NETWORK)
