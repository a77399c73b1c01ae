"""restrict=on: what still works, and what does not (QEMU's manual; facts of libslirp)."""

from __future__ import annotations

from tests.oracles.user.host import ELSEWHERE, ELSEWHERE6, LOOPBACK, LOOPBACK6
from tests.oracles.user.hosting import DGRAM, STREAM, connects, gives, sends_from, serves
from tests.oracles.user.scenes import discovery, dns, icmp, tcp, tftp, udp
from tests.oracles.user.script import (
    HELLO,
    HELLO6,
    SHORT,
    Scene,
    Step,
    ask_for_silence6,
    asks_arp,
    does,
    kind,
    sends,
)
from tests.oracles.user.stage import GATEWAY, GATEWAY6, GUEST, GUEST6, LINK_LOCAL
from tests.wire import inet
from tests.wire.packets import ACK, SYN

SERVER = 5000
INFORMATION = discovery.dhcp6(11, discovery.CLIENT_ID, discovery.WANTED)
QUESTION = dns.question(0x77, "name.test")

V4 = Scene(
    "restricted",
    [
        HELLO,
        Step("ARP for DNS", asks_arp("10.0.2.3"), kind("arp")),
        Step("ping of the gateway", icmp.pings(GATEWAY), icmp.ECHO),
        Step("ping of another machine", icmp.pings(ELSEWHERE)),
        Step(
            "a datagram to the host", does(serves("udp", DGRAM, SERVER, LOOPBACK), udp.says(GATEWAY, SERVER))
        ),
        Step("a datagram to nobody", udp.says(GATEWAY, 5009)),
        Step("a datagram to another machine", udp.says(ELSEWHERE, SERVER)),
        Step("DNS", sends(inet.datagram((GUEST, 4053), ("10.0.2.3", 53), QUESTION))),
        Step(
            "a connection to the host",
            does(serves("tcp", STREAM, SERVER, LOOPBACK), tcp.opens(GATEWAY, SERVER, 4001)),
            tcp.any_segment,
        ),
        Step("a connection to another machine", tcp.opens(ELSEWHERE, SERVER, 4002), tcp.any_segment),
        Step("DNS by TCP", tcp.opens("10.0.2.3", 53, 4003), tcp.any_segment),
        Step("a file", tftp.asks(6900, "boot"), tftp.ANSWER),
        Step("a client comes", connects("a", 5100), tcp.segment),
        Step("it is accepted", tcp.says(b"", SYN | ACK), tcp.any_segment),
        Step("its data", gives("a", b"question"), tcp.segment),
        Step("a datagram comes", sends_from("d", 5200, b"question"), kind("udp")),
    ],
    "restrict=on,tftp={folder}/tftp,hostfwd=tcp:127.0.0.1:5100-:80,hostfwd=udp:127.0.0.1:5200-:53",
)

V6 = Scene(
    "restricted by IPv6",
    [
        HELLO6,
        Step("routers", discovery.solicits(LINK_LOCAL), kind("ra")),
        Step("information", INFORMATION, kind("dhcp6"), patience=SHORT),
        Step("ping of the gateway", discovery.pings(GATEWAY6), discovery.ECHO),
        Step("ping of another machine", discovery.pings(ELSEWHERE6), silent=ask_for_silence6),
        Step(
            "a datagram to the host",
            does(serves("udp", DGRAM, SERVER, LOOPBACK6), udp.says(GATEWAY6, SERVER)),
            silent=ask_for_silence6,
        ),
        Step("DNS", sends(inet.datagram((GUEST6, 4053), ("fec0::3", 53), QUESTION)), silent=ask_for_silence6),
        Step(
            "a connection to the host",
            does(serves("tcp", STREAM, SERVER, LOOPBACK6), tcp.opens(GATEWAY6, SERVER, 4001)),
            tcp.any_segment,
        ),
        Step("a connection to another machine", tcp.opens(ELSEWHERE6, SERVER, 4002), tcp.any_segment),
        Step("a file", tftp.asks(6900, "boot", v6=True), tftp.ANSWER, patience=SHORT),
    ],
    "restrict=on,tftp={folder}/tftp,bootfile=pxelinux.0",
)

SCENES = (V4, V6)
