"""Datagrams: to the host's servers, to nobody, and broken ones."""

from __future__ import annotations

from tests.oracles.user.host import ELSEWHERE, ELSEWHERE6, LOOPBACK, LOOPBACK6, NOWHERE, NOWHERE6
from tests.oracles.user.hosting import DGRAM, gives, serves, takes
from tests.oracles.user.script import HELLO, HELLO6, Do, Scene, Step, ask_for_silence6, does, kind, sends
from tests.oracles.user.stage import GATEWAY, GATEWAY6, GUEST, GUEST6
from tests.wire import inet

ANSWER = kind("udp", "error")
SERVER, CLOSED, SECOND = 5000, 5009, 5001
CLIENT = 4000


def says(to: str, port: int, data: bytes = b"question", client: int = CLIENT) -> Do:
    source = GUEST6 if ":" in to else GUEST
    return sends(inet.datagram((source, client), (to, port), data))


def spoilt(packet: bytes, at: int, value: bytes) -> Do:
    """A packet with some of its bytes replaced."""
    return sends(packet[:at] + value + packet[at + len(value) :])


def talk(gateway: str, loopback: str) -> list[Step]:
    """A conversation with servers on the host."""
    return [
        Step(
            "question and answer",
            does(
                serves("server", DGRAM, SERVER, loopback),
                says(gateway, SERVER),
                takes("server"),
                gives("server", b"answer"),
            ),
            ANSWER,
        ),
        Step("a second answer", gives("server", b"more"), ANSWER),
        Step(
            "an empty question",
            does(says(gateway, SERVER, b""), takes("server"), gives("server", b"")),
            ANSWER,
        ),
        Step(
            "a full frame",
            does(says(gateway, SERVER, b"x" * 1452), takes("server"), gives("server", b"y" * 1452)),
            ANSWER,
        ),
        Step(
            "another server answers",
            does(serves("second", DGRAM, SECOND, loopback), gives("second", b"I", to="server")),
            ANSWER,
        ),
        Step("nobody listens", says(gateway, CLOSED), ANSWER),
    ]


PLAIN = inet.datagram((GUEST, CLIENT), (GATEWAY, SERVER), b"question")
# In this order: the last one first ends QEMU 7.2.
PIECES = inet.pieces(inet.datagram((GUEST, CLIENT), (GATEWAY, SERVER), b"w" * 2000), 1480)
PLAIN6 = inet.datagram((GUEST6, CLIENT), (GATEWAY6, SERVER), b"question")

UDP = Scene(
    "udp",
    [
        HELLO,
        *talk(GATEWAY, LOOPBACK),
        Step(
            "without a checksum",
            does(spoilt(PLAIN, 26, b"\0\0"), takes("server"), gives("server", b"answer")),
            ANSWER,
        ),
        Step("with a wrong checksum", spoilt(PLAIN, 26, b"\1\1")),
        Step("longer than its packet", spoilt(PLAIN, 24, b"\0\xff")),
        Step("shorter than its header", spoilt(PLAIN, 24, b"\0\7")),
        Step("in two pieces", does(*map(sends, PIECES), takes("server"))),
        Step("an answer in two pieces", gives("server", b"z" * 2000), kind("fragment")),
        Step("the answer's second piece", does(), kind("fragment")),
        Step("to port 0", says(GATEWAY, 0)),
        Step("nobody listens on another machine", says(ELSEWHERE, CLOSED), ANSWER),
        Step("no way there", says(NOWHERE, SERVER), ANSWER),
        Step("to everybody", says("255.255.255.255", SERVER)),
        Step("to the network", says("10.0.2.255", SERVER)),
        Step("to a group", says("224.0.0.251", SERVER)),
        Step("to this machine", says("127.0.0.1", SERVER)),
        Step(
            "from a foreign address", sends(inet.datagram(("192.168.1.1", CLIENT), (GATEWAY, CLOSED), b"x"))
        ),
    ],
)

UDP6 = Scene(
    "udp by IPv6",
    [
        HELLO6,
        *talk(GATEWAY6, LOOPBACK6),
        Step("without a checksum", spoilt(PLAIN6, 46, b"\0\0"), silent=ask_for_silence6),
        Step("with a wrong checksum", spoilt(PLAIN6, 46, b"\1\1"), silent=ask_for_silence6),
        Step("longer than its packet", spoilt(PLAIN6, 44, b"\0\xff"), silent=ask_for_silence6),
        Step("nobody listens on another machine", says(ELSEWHERE6, CLOSED), ANSWER),
        Step("no way there", says(NOWHERE6, SERVER), ANSWER),
        Step("to a group", says("ff02::fb", SERVER), silent=ask_for_silence6),
        Step("to this machine", says("::1", SERVER), silent=ask_for_silence6),
    ],
)

SCENES = (UDP, UDP6)
