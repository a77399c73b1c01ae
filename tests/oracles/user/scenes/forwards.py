"""What comes in (hostfwd), and addresses behind which a program is (guestfwd)."""

from __future__ import annotations

from tests.oracles.user.host import HERE
from tests.oracles.user.hosting import connects, ends, gets, gives, sends_from, takes
from tests.oracles.user.scenes.tcp import CLOSES, acknowledged, any_segment, opens, says, segment
from tests.oracles.user.scenes.udp import says as says_udp
from tests.oracles.user.script import HELLO, SHORT, Do, Scene, Step, asks_arp, does, kind
from tests.oracles.user.stage import GATEWAY, GUEST, Stage
from tests.wire import inet
from tests.wire.packets import ACK, RST, SYN

ACCEPTS = says(b"", SYN | ACK)
REFUSES = says(b"", RST | ACK)


def answers_udp(port: int, data: bytes) -> Do:
    """An answer to whom the last datagram was from."""

    def do(stage: Stage) -> None:
        if stage.heard is None or stage.heard.kind != "udp":
            raise LookupError("no datagram")
        stage.send(inet.datagram((GUEST, port), stage.heard.source, data))

    return do


TCP_IN = Scene(
    "hostfwd",
    [
        HELLO,
        Step("a client comes", connects("a", 5100), segment),
        Step("the guest accepts", ACCEPTS, any_segment),
        Step("the client's data", gives("a", b"question"), segment),
        Step("the guest's data", does(says(b"answer"), gets("a")), acknowledged),
        Step("the client ends", ends("a"), segment),
        Step("the guest ends", does(CLOSES, gets("a")), acknowledged),
        Step("another client", connects("b", 5100), segment),
        Step("the guest refuses", does(REFUSES, gets("b"))),
        Step("a client on another machine", connects("c", 5101, HERE, here=False), segment),
        Step("a datagram", sends_from("d", 5200, b"question"), kind("udp")),
        Step("an answer to it", does(answers_udp(53, b"answer"), takes("d"))),
        Step("a datagram of another machine", sends_from("e", 5201, b"question", here=False), kind("udp")),
    ],
    "hostfwd=tcp:127.0.0.1:5100-:80,hostfwd=tcp::5101-:81,"
    "hostfwd=udp:127.0.0.1:5200-:53,hostfwd=udp::5201-10.0.2.15:54",
)

PROGRAM = "10.0.2.100"


def program(options: str) -> Scene:
    return Scene(
        "guestfwd" + (", restricted" if options else ""),
        [
            HELLO,
            Step("its address", asks_arp(PROGRAM), kind("arp")),
            Step("a connection", opens(PROGRAM, 7, 4100), segment),
            Step("what it says comes back", says(b"question"), segment),
            Step("the guest ends", CLOSES, segment),
            Step("another port of the address", opens(PROGRAM, 8, 4101), any_segment),
            Step("a datagram", says_udp(PROGRAM, 7), kind("udp", "error"), patience=SHORT),
            Step("the port of the gateway", opens(GATEWAY, 7, 4102), any_segment),
        ],
        f"{options}guestfwd=tcp:{PROGRAM}:7-cmd:cat",
    )


SCENES = (TCP_IN, program(""), program("restrict=on,"))
