"""Ping, by IPv4: of the network's own addresses and of other machines."""

from __future__ import annotations

from tests.oracles.user.host import ELSEWHERE, NOWHERE
from tests.oracles.user.script import HELLO, SHORT, Do, Scene, Step, echo, kind, sends
from tests.oracles.user.stage import GATEWAY, GUEST
from tests.wire import inet
from tests.wire.packets import ICMP

ECHO = kind("echo", "error")


def pings(target: str, data: bytes = b"wirebay", *, ttl: int = 64) -> Do:
    return sends(inet.ip(ICMP, GUEST, target, echo(8, data), ttl=ttl))


def sends_icmp(target: str, message: bytes) -> Do:
    return sends(inet.ip(ICMP, GUEST, target, message))


PING = Scene(
    "icmp",
    [
        HELLO,
        Step("ping of the gateway", pings(GATEWAY), ECHO),
        Step("ping without data", pings(GATEWAY, b""), ECHO),
        Step("ping of a full frame", pings(GATEWAY, bytes(range(256)) * 5), ECHO),
        Step("ping of the gateway with one hop", pings(GATEWAY, ttl=1), ECHO),
        Step("ping of another machine", pings(ELSEWHERE), ECHO),
        Step("ping of DNS", pings("10.0.2.3"), ECHO),
        Step("ping of nobody here", pings("10.0.2.77"), ECHO, patience=SHORT),
        Step("ping of a network there is no way to", pings(NOWHERE), ECHO),
        Step("ping of the broadcast address", pings("10.0.2.255")),
        Step("ping of everybody", pings("255.255.255.255")),
        Step("an answer nobody asked for", sends_icmp(GATEWAY, echo(0, b"wirebay"))),
        Step(
            "an echo request with a wrong checksum",
            sends_icmp(GATEWAY, echo(8, b"x")[:2] + b"\0\0" + echo(8, b"x")[4:]),
        ),
        Step("a message of an unknown type", sends_icmp(GATEWAY, echo(99, b"x"))),
        Step("another protocol", sends(inet.ip(132, GUEST, GATEWAY, bytes(20)))),
    ],
)

RESTRICTED = Scene(
    "icmp, restricted",
    [
        HELLO,
        Step("ping of the gateway", pings(GATEWAY), ECHO),
        Step("ping of another machine", pings(ELSEWHERE)),
    ],
    "restrict=on",
)

SCENES = (PING, RESTRICTED)
