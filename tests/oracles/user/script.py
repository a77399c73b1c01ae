"""Scripts: what a guest says step by step, and what it hears, as fields to compare.

A step does something, most often it sends a frame, and waits for the answer it wants. What comes before the
answer is recorded as `extra`. A step that wants silence asks something else afterwards, of the same part of
the network, and whatever comes before that answer breaks the silence; so no time is waited for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.oracles.user.dissect import Seen
from tests.oracles.user.stage import GATEWAY, GATEWAY6, GUEST, GUEST6, MAC, PATIENCE, Stage
from tests.oracles.user.text import Fields, text
from tests.wire import inet
from tests.wire.packets import ARP, BROADCAST, RST, arp, checksum, dhcp, ethernet

Do = Callable[[Stage], None]
Wants = Callable[[Stage, Seen], bool]
OTHER_MAC = bytes.fromhex("525400123499")


@dataclass(frozen=True)
class Step:
    """`wants` tells the answer; `silent` asks, in a step that wants none, something that is answered.

    Where one of the two networks is known not to answer, `patience` (seconds) may be short.
    """

    name: str
    do: Do
    wants: Wants | None = None
    silent: Do | None = None
    patience: float = PATIENCE


@dataclass(frozen=True)
class Scene:
    """A script for a network with these options."""

    name: str
    steps: Sequence[Step]
    options: str = ""


Answers = dict[str, Fields]


def play(scene: Scene, stage: Stage) -> Answers:
    """Play all steps; the answer to each by its name."""
    answers = {}
    for step in scene.steps:
        assert step.name not in answers, step.name
        stage.notes.clear()
        try:
            step.do(stage)
        except (OSError, LookupError) as error:  # such as a server that nobody came to
            stage.notes["host.failed"] = type(error).__name__
        answers[step.name] = _hear(stage, step) | stage.notes
    return answers


def _hear(stage: Stage, step: Step) -> Fields:
    wants: Wants = step.wants or _is_echo_of_silence
    if step.wants is None:
        (step.silent or ask_for_silence)(stage)
    before: list[str] = []
    while (seen := stage.receive(step.patience)) is not None:
        if wants(stage, seen) or (step.wants and is_refusal(seen)):
            answer = seen.fields | {"answer": seen.kind} if step.wants else {"answer": "nothing"}
            return answer | ({"extra": ", ".join(before)} if before else {})
        if not is_noise(seen):
            before.append(summary(seen))
    return {"answer": "nothing"} | ({"extra": ", ".join(before)} if before else {})


def summary(seen: Seen) -> str:
    """What a frame is, in a word or two."""
    return (
        f"error {seen.fields['icmp.type']}/{seen.fields['icmp.code']}" if seen.kind == "error" else seen.kind
    )


def is_refusal(seen: Seen) -> bool:
    return seen.kind == "error" or (seen.kind == "tcp" and bool(seen.numbers["flags"] & RST))


def is_noise(seen: Seen) -> bool:
    """What comes when it likes: acknowledgements of nothing, questions for neighbours, routers."""
    if seen.kind == "tcp":
        return seen.fields["tcp.flags"] == "A" and not seen.payload
    return seen.kind in ("ra", "ns") or seen.fields.get("arp.operation") == "1"


# For a network that does not answer.
SHORT = 1.0

# Silence. A ping of the gateway, behind the question; both are answered by the network itself.

SILENCE = b"silence"
SILENT_PORT = 6999


def ask_for_silence(stage: Stage) -> None:
    stage.send(inet.ip(1, GUEST, GATEWAY, echo(8, SILENCE)))


def ask_for_silence6(stage: Stage) -> None:
    stage.send(inet.icmp6(GUEST6, GATEWAY6, 128, echo_body(SILENCE)))


def ask_dhcp_for_silence(stage: Stage) -> None:
    """DHCP is served apart from the rest: ask it."""
    message = dhcp(OTHER_MAC, {53: b"\x01"})
    stage.wire.send(
        ethernet(
            BROADCAST, OTHER_MAC, 0x0800, inet.datagram(("0.0.0.0", 68), ("255.255.255.255", 67), message)
        )
    )


def ask_tftp_for_silence(stage: Stage) -> None:
    """TFTP, too: the file is not there."""
    ask_tftp(stage, (GUEST, SILENT_PORT), (GATEWAY, 69))


def ask_tftp6_for_silence(stage: Stage) -> None:
    ask_tftp(stage, (GUEST6, SILENT_PORT), (GATEWAY6, 69))


def ask_tftp(stage: Stage, source: tuple[str, int], server: tuple[str, int]) -> None:
    stage.send(inet.datagram(source, server, b"\0\1nothing\0octet\0"))


def _is_echo_of_silence(stage: Stage, seen: Seen) -> bool:
    if seen.kind == "tftp error":
        return seen.destination[1] == SILENT_PORT
    if seen.kind == "dhcp":
        return seen.fields["dhcp.chaddr"].startswith(OTHER_MAC.hex())
    return seen.kind == "echo" and seen.fields["icmp.data"] == text(SILENCE)


def echo_body(data: bytes, number: int = 1) -> bytes:
    return b"\0\7" + number.to_bytes(2, "big") + data


def echo(kind: int, data: bytes, number: int = 1) -> bytes:
    """An ICMP echo message of IPv4."""
    message = bytes((kind, 0, 0, 0)) + echo_body(data, number)
    return message[:2] + checksum(message).to_bytes(2, "big") + message[4:]


# What is wanted.


def kind(*names: str) -> Wants:
    """A frame of one of these kinds."""
    return lambda stage, seen: seen.kind in names


# What is done.


def sends(packet: bytes) -> Do:
    """An IP packet."""
    return lambda stage: stage.send(packet)


def sends_frame(frame: bytes) -> Do:
    return lambda stage: stage.wire.send(frame)


def does(*parts: Do) -> Do:
    """One after the other."""

    def do(stage: Stage) -> None:
        for part in parts:
            part(stage)

    return do


def asks_arp(target: str, sender: str = GUEST) -> Do:
    return sends_frame(ethernet(BROADCAST, MAC, ARP, arp(1, MAC, sender, bytes(6), target)))


# The guest makes itself known, and learns where the gateway is: how scenes begin.
HELLO = Step("hello", asks_arp(GATEWAY), kind("arp"))
HELLO6 = Step("hello", sends_frame(inet.solicitation(MAC, GUEST6, GATEWAY6)), kind("na"))
