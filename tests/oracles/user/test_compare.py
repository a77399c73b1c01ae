"""The parts of the comparison that need no network: what it verifies, tells apart and accepts."""

from __future__ import annotations

import pytest

from tests.oracles.user.compare import Accepted, Difference, differences
from tests.oracles.user.dissect import dissect
from tests.wire import inet
from tests.wire.inet import IPV6
from tests.wire.packets import ACK, IPV4, SYN, Segment, ethernet

MAC, OTHER = b"\x02\0\0\0\0\1", b"\x02\0\0\0\0\2"
ENDS = {
    IPV4: (("10.0.2.15", 4000), ("10.0.2.2", 5000)),
    IPV6: (("fec0::15", 4000), ("fec0::2", 5000)),
}
PACKETS = [
    (kind, packet)
    for kind, ends in ENDS.items()
    for packet in (
        inet.datagram(*ends, b"question"),
        inet.segment(Segment(*ends, 1, 2, SYN | ACK, b"", b"\2\4\5\xb4")),
    )
]


@pytest.mark.parametrize(("kind", "packet"), PACKETS)
def test_any_bit_that_is_wrong_is_found(kind: int, packet: bytes) -> None:
    frame = ethernet(MAC, OTHER, kind, packet)
    dissect(frame)
    # What a checksum covers: all but an IPv6 header's first four bytes and its hop limit.
    covered = set(range(14, len(frame))) - (set(range(14, 18)) | {21} if kind == IPV6 else set())
    for at in covered:
        for bit in range(8):
            wrong = bytearray(frame)
            wrong[at] ^= 1 << bit
            assert unequal(bytes(wrong), frame), (at, bit)


def unequal(wrong: bytes, frame: bytes) -> bool:
    """Whether it is refused, or read as something else."""
    try:
        seen = dissect(wrong)
    except AssertionError:
        return True
    return seen.kind != dissect(frame).kind


def test_padding_of_short_frames_is_no_difference() -> None:
    frame = ethernet(MAC, OTHER, *PACKETS[0])
    assert dissect(frame).fields == dissect(frame + bytes(18)).fields


def test_fields_that_differ_are_told_and_those_of_other_answers_are_not() -> None:
    theirs = {"one": {"answer": "tcp", "a": "1", "b": "2"}, "two": {"answer": "tcp", "a": "1"}}
    ours = {"one": {"answer": "tcp", "a": "1", "c": "3"}, "two": {"answer": "nothing"}}
    assert differences("scene", theirs, ours) == [
        Difference("scene", "one", "b", "2", "absent"),
        Difference("scene", "one", "c", "absent", "3"),
        Difference("scene", "two", "answer", "tcp", "nothing"),
    ]


def test_an_accepted_difference_is_that_one_alone() -> None:
    entry = Accepted("scene", "one", "tcp.*", "2", "*", "because")
    assert entry.covers(Difference("scene", "one", "tcp.mss", "2", "3"))
    for other in (
        Difference("another", "one", "tcp.mss", "2", "3"),
        Difference("scene", "two", "tcp.mss", "2", "3"),
        Difference("scene", "one", "ip.ttl", "2", "3"),
        Difference("scene", "one", "tcp.mss", "1", "3"),
    ):
        assert not entry.covers(other)
