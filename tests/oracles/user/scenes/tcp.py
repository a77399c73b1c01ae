"""Connections to the host's servers: opened, used, closed in both orders, reset and refused."""

from __future__ import annotations

from tests.oracles.user.dissect import Seen
from tests.oracles.user.host import LOOPBACK, LOOPBACK6, NOWHERE, NOWHERE6
from tests.oracles.user.hosting import STREAM, accepts, ends, gets, gives, resets, serves
from tests.oracles.user.script import HELLO, HELLO6, SHORT, Do, Scene, Step, does, sends
from tests.oracles.user.stage import FIRST, GATEWAY, GATEWAY6, GUEST, GUEST6, Flow, Stage
from tests.wire import inet
from tests.wire.packets import ACK, FIN, PSH, RST, SYN, Segment

SERVER, CLOSED = 5000, 5009
MSS = b"\x02\x04\x05\xb4"


def segment(stage: Stage, seen: Seen) -> bool:
    """A segment of the flow that is more than an acknowledgement."""
    return seen.kind == "tcp" and (bool(seen.payload) or seen.fields["tcp.flags"] != "A")


def acknowledged(stage: Stage, seen: Seen) -> bool:
    """A segment that acknowledges all that the guest has sent."""
    return seen.kind == "tcp" and seen.numbers["ack"] == stage.flow.seq


def any_segment(stage: Stage, seen: Seen) -> bool:
    return seen.kind == "tcp"


def opens(to: str, port: int, client: int, options: bytes = MSS) -> Do:
    """A new flow begins."""

    def do(stage: Stage) -> None:
        stage.flows.append(Flow((GUEST6 if ":" in to else GUEST, client), (to, port)))
        stage.send_segment(SYN, options=options)

    return do


def says(data: bytes, flags: int = PSH | ACK) -> Do:
    return lambda stage: stage.send_segment(flags, data)


def repeats_syn(stage: Stage) -> None:
    """The SYN comes once more, as if the answer had been lost."""
    flow = stage.flow
    stage.send(inet.segment(Segment(flow.here, flow.there, FIRST, 0, SYN, options=MSS)))


def spoilt(stage: Stage) -> None:
    """A segment whose checksum is wrong."""
    flow = stage.flow
    packet = inet.segment(Segment(flow.here, flow.there, flow.seq, flow.ack, PSH | ACK, b"spoilt"))
    stage.send(packet[:-1] + b"T")


CLOSES = says(b"", FIN | ACK)


def lives(gateway: str, loopback: str, nowhere: str) -> list[Step]:
    """Lives of connections."""
    return [
        Step("open", does(serves("server", STREAM, SERVER, loopback), opens(gateway, SERVER, 4001)), segment),
        Step(
            "the host accepts, and data",
            does(accepts("server", "a"), says(b"question"), gets("a")),
            acknowledged,
        ),
        Step("the host's data", gives("a", b"answer"), segment),
        Step("a segment of full size", does(says(b"x" * 1400), gets("a")), acknowledged),
        Step("the guest ends", does(CLOSES, gets("a")), acknowledged),
        Step("data after the guest's end", gives("a", b"still here"), segment),
        Step("the host ends", ends("a"), segment),
        Step("a second connection", opens(gateway, SERVER, 4002), segment),
        Step("the host ends first", does(accepts("server", "b"), ends("b")), segment),
        Step("data after the host's end", does(says(b"still here"), gets("b")), acknowledged),
        Step("the guest ends, too", does(CLOSES, gets("b")), acknowledged),
        Step("a third connection", opens(gateway, SERVER, 4003), segment),
        Step("the host resets", does(accepts("server", "c"), resets("c")), segment),
        Step("a fourth connection", opens(gateway, SERVER, 4004), segment),
        Step("the guest resets", does(accepts("server", "d"), says(b"", RST | ACK), gets("d"))),
        Step("refused", opens(gateway, CLOSED, 4005), any_segment),
        Step("no way there", opens(nowhere, SERVER, 4006), any_segment),
        Step(
            "a connection with options of all kinds",
            opens(gateway, SERVER, 4007, MSS + b"\4\2\x08\x0a\0\0\0\1\0\0\0\0\1\3\3\7"),
            segment,
        ),
        Step("a SYN that comes twice", repeats_syn, any_segment, patience=SHORT),
    ]


def strays(gateway: str) -> list[Step]:
    """Segments that belong to nothing."""
    guest = GUEST6 if ":" in gateway else GUEST

    def stray(flags: int, port: int, data: bytes = b"") -> Do:
        return sends(inet.segment(Segment((guest, port), (gateway, SERVER), 77, 88, flags, data)))

    return [
        Step("an acknowledgement of nothing", stray(ACK, 4020), any_segment),
        Step("data of nothing", stray(PSH | ACK, 4021, b"x"), any_segment),
        Step("an end of nothing", stray(FIN | ACK, 4022), any_segment),
    ]


TCP = Scene(
    "tcp",
    [
        HELLO,
        *lives(GATEWAY, LOOPBACK, NOWHERE),
        *strays(GATEWAY),
        Step(
            "a reset of nothing", sends(inet.segment(Segment((GUEST, 4023), (GATEWAY, SERVER), 77, 0, RST)))
        ),
        Step("a wrong checksum", spoilt),
        Step("to nobody in the network", opens("10.0.2.77", SERVER, 4030), any_segment, patience=SHORT),
        Step("to this machine", opens("127.0.0.1", SERVER, 4031), any_segment),
        Step("to everybody", opens("255.255.255.255", SERVER, 4032), any_segment, patience=SHORT),
    ],
)

TCP6 = Scene("tcp by IPv6", [HELLO6, *lives(GATEWAY6, LOOPBACK6, NOWHERE6), *strays(GATEWAY6)])

SCENES = (TCP, TCP6)
