"""DNS: questions to the network's server, which the host's resolver answers."""

from __future__ import annotations

import select
import struct

from tests.oracles.user.host import LOOPBACK, LOOPBACK6, PATIENCE
from tests.oracles.user.hosting import DGRAM, SIZE, STREAM, serves, stops
from tests.oracles.user.scenes.tcp import any_segment, opens, says, segment
from tests.oracles.user.script import HELLO, HELLO6, Do, Scene, Step, does, kind, sends
from tests.oracles.user.stage import GUEST, GUEST6, Stage
from tests.oracles.user.text import text
from tests.wire import inet

SERVER, SERVER6 = "10.0.2.3", "fec0::3"
A, TXT, PRIVATE = 1, 16, 65280
CLIENT = 4053
ANSWER = kind("dns", "error")


def question(number: int, name: str, of: int = A) -> bytes:
    """A query for recursion (RFC 1035 4)."""
    labels = b"".join(bytes((len(part),)) + part.encode() for part in name.split("."))
    return struct.pack("!HHHHHH", number, 0x0100, 1, 0, 0, 0) + labels + struct.pack("!BHH", 0, of, 1)


def reply(query: bytes, data: bytes) -> bytes:
    """One record that answers it; without data: there is no such name."""
    flags, count = (0x8180, 1) if data else (0x8183, 0)
    of = query[-4:-2]
    record = b"\xc0\x0c" + of + struct.pack("!HIH", 1, 300, len(data)) + data if data else b""
    return query[:2] + struct.pack("!HHHHH", flags, 1, count, 0, 0) + query[12:] + record


def resolver_answers(data: bytes) -> Do:
    """The host's resolver takes one question, by UDP or by TCP as it comes, and answers with this data."""

    def do(stage: Stage) -> None:
        by_udp, by_tcp = stage.sockets["resolver"], stage.sockets["by tcp"]
        came, _, _ = select.select([by_udp, by_tcp], [], [], PATIENCE)
        if by_udp in came:
            query, peer = by_udp.recvfrom(SIZE)
            by_udp.sendto(reply(query, data), peer)
        else:
            connection = stage.host.sockets.enter_context(by_tcp.accept()[0])
            connection.settimeout(PATIENCE)
            query = connection.recv(SIZE)[2:]
            connection.sendall(framed(reply(query, data)))
        stage.notes["host.got"] = text(query[2:])

    return do


def framed(message: bytes) -> bytes:
    """As it goes by TCP (RFC 1035 4.2.2)."""
    return struct.pack("!H", len(message)) + message


def asks(server: str, name: str, of: int = A, client: int = CLIENT) -> Do:
    source = GUEST6 if ":" in server else GUEST
    return sends(inet.datagram((source, client), (server, 53), question(0x77, name, of)))


def questions(server: str, loopback: str) -> list[Step]:
    listens = does(serves("resolver", DGRAM, 53, loopback), serves("by tcp", STREAM, 53, loopback))
    by_tcp = says(framed(question(0x79, "long.test")))
    return [
        Step("an address", does(listens, asks(server, "name.test"), resolver_answers(b"\x7f\0\0\1")), ANSWER),
        Step("text", does(asks(server, "name.test", TXT), resolver_answers(b"\4text")), ANSWER),
        Step("a type nobody knows", does(asks(server, "x.test", PRIVATE), resolver_answers(b"\1\2")), ANSWER),
        Step("no such name", does(asks(server, "nobody.test"), resolver_answers(b"")), ANSWER),
        Step("a connection", opens(server, 53, 4054), segment),
        Step("a question by TCP", does(by_tcp, resolver_answers(b"\x7f\0\0\1")), segment),
    ]


def dead(server: str) -> Step:
    gone = does(stops("resolver"), stops("by tcp"), asks(server, "dead.test", client=4056))
    return Step("a resolver that is not there", gone, ANSWER)


def port(server: str, number: int) -> Do:
    source = GUEST6 if ":" in server else GUEST
    return sends(inet.datagram((source, CLIENT), (server, number), b"question"))


DNS = Scene(
    "dns",
    [
        HELLO,
        *questions(SERVER, LOOPBACK),
        Step("another port of the server", port(SERVER, 5009), kind("udp", "error")),
        Step("a connection to another port", opens(SERVER, 5009, 4055), any_segment),
        dead(SERVER),
    ],
)
DNS6 = Scene("dns by IPv6", [HELLO6, *questions(SERVER6, LOOPBACK6), dead(SERVER6)])

SCENES = (DNS, DNS6)
