"""A TFTP transfer under injected time, over links that lose, double and reorder."""

from __future__ import annotations

from collections import Counter
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.tftp_link import Link, transfer
from wirebay.services.tftp_message import Ack, Data, Error, OptionAck, Packet
from wirebay.services.tftp_options import Terms
from wirebay.services.tftp_session import TIMEOUT, TRIES, Session

seeds = st.integers(0, 1 << 32)


def terms(block: int = 8, window: int = 1, *, options: bool = False, timeout: float | None = None) -> Terms:
    accepted = {b"windowsize": b"%d" % window} if options or window > 1 else {}
    return Terms(block=block, window=window, timeout=timeout, accepted=accepted)


def session_of(content: bytes, agreed: Terms) -> Session:
    position = 0

    def read(size: int) -> bytes:
        nonlocal position
        position += size
        return content[position - size : position]

    return Session(read, agreed)


def blocks_of(packets: list[Packet]) -> list[int]:
    return [packet.block for packet in packets if isinstance(packet, Data)]


@given(st.binary(max_size=400), st.integers(8, 64), st.integers(1, 8), seeds)
def test_over_a_perfect_link_every_block_is_sent_once(
    content: bytes, block: int, window: int, seed: int
) -> None:
    outcome = transfer(content, terms(block, window), Link(Random(seed)))
    assert bytes(outcome.client.received) == content
    assert blocks_of(outcome.sent) == list(range(1, len(content) // block + 2))
    assert outcome.expired == 0


@settings(max_examples=200)
@given(st.binary(max_size=400), st.integers(1, 8), seeds, st.booleans())
def test_over_a_bad_link_what_the_client_finished_is_the_file(
    content: bytes, window: int, seed: int, eager: bool
) -> None:
    link = Link(Random(seed), loss=0.2, double=0.2, reorder=0.3)
    outcome = transfer(content, terms(8, window, options=True), link, eager=eager)
    assert content.startswith(bytes(outcome.client.received))
    if outcome.client.done:
        assert bytes(outcome.client.received) == content


@settings(max_examples=200)
@given(st.binary(min_size=100, max_size=400), seeds)
def test_a_link_that_loses_a_tenth_loses_no_transfer(content: bytes, seed: int) -> None:
    outcome = transfer(content, terms(), Link(Random(seed), loss=0.05, double=0.1, reorder=0.2))
    assert bytes(outcome.client.received) == content or outcome.expired >= TRIES


@settings(max_examples=200)
@given(st.binary(max_size=800), seeds)
def test_the_sorcerers_apprentice_stays_away(content: bytes, seed: int) -> None:
    """A client that acknowledges every copy doubles nothing: blocks go out again by time alone."""
    outcome = transfer(content, terms(), Link(Random(seed), loss=0.05, double=0.5, reorder=0.5), eager=True)
    repeats = Counter(blocks_of(outcome.sent))
    assert sum(repeats.values()) - len(repeats) <= outcome.expired


@given(st.binary(min_size=64, max_size=800), st.integers(2, 8), seeds)
def test_with_a_window_nothing_is_sent_but_by_time_or_a_new_acknowledgement(
    content: bytes, window: int, seed: int
) -> None:
    link = Link(Random(seed), loss=0.05, double=0.5, reorder=0.5)
    outcome = transfer(content, terms(8, window), link, eager=True)
    blocks = len(content) // 8 + 1
    assert len(outcome.sent) <= (blocks + 1 + outcome.expired) * window


def test_block_numbers_wrap_after_65535() -> None:
    content = bytes(8 * 70000)
    outcome = transfer(content, terms(8, 64), Link(Random(0)))
    assert bytes(outcome.client.received) == content
    assert blocks_of(outcome.sent)[65534:65537] == [65535, 0, 1]


def test_an_empty_file_is_one_empty_block() -> None:
    session = session_of(b"", terms())
    assert session.start(0.0) == [Data(1, b"")]
    assert session.take(Ack(1), 0.1) == []
    assert session.over


def test_a_file_of_whole_blocks_ends_with_an_empty_one() -> None:
    session = session_of(bytes(16), terms(8, 4))
    session.start(0.0)
    assert blocks_of(session.take(Ack(0), 0.1)) == [1, 2, 3]
    session.take(Ack(3), 0.2)
    assert session.over


def test_options_are_acknowledged_before_the_first_block() -> None:
    session = session_of(b"x", terms(options=True))
    assert session.start(0.0) == [OptionAck({b"windowsize": b"1"})]
    assert session.take(Ack(1), 0.0) == []
    assert session.take(Ack(0), 0.0) == [Data(1, b"x")]


def test_an_acknowledgement_of_nothing_that_was_sent_does_nothing() -> None:
    session = session_of(bytes(80), terms())
    session.start(0.0)
    assert [session.take(Ack(number), 0.0) for number in (0, 2, 65535)] == [[], [], []]
    assert blocks_of(session.take(Ack(1), 0.0)) == [2]


def test_an_acknowledgement_inside_the_window_sends_the_rest_again() -> None:
    session = session_of(bytes(800), terms(8, 4))
    session.start(0.0)
    session.take(Ack(0), 0.0)
    assert blocks_of(session.take(Ack(2), 0.0)) == [3, 4, 5, 6]


def test_silence_repeats_the_window_and_then_ends_the_transfer() -> None:
    session = session_of(bytes(80), terms())
    session.start(0.0)
    assert session.expire(TIMEOUT / 2) == []
    now, repeats = 0.0, 0
    while not session.over:
        now = session.deadline
        repeats += len(session.expire(now))
    assert (repeats, now) == (TRIES - 1, TRIES * TIMEOUT)
    assert session.take(Ack(1), now) == []


def test_the_clients_timeout_is_kept() -> None:
    session = session_of(bytes(80), terms(timeout=30))
    session.start(5.0)
    assert session.deadline == 35.0


def test_a_request_that_comes_again_is_answered_again_until_something_was_acknowledged() -> None:
    session = session_of(bytes(80), terms())
    first = session.start(0.0)
    assert session.repeat_start(0.1) == first
    session.take(Ack(1), 0.2)
    assert session.repeat_start(0.3) == []


def test_an_error_of_the_client_ends_the_transfer() -> None:
    session = session_of(bytes(80), terms(options=True))
    session.start(0.0)
    assert session.take(Error(8, b"tsize was all I wanted"), 0.1) == []
    assert session.over


def test_a_file_that_cannot_be_read_is_told() -> None:
    def read(size: int) -> bytes:
        raise OSError(5, "Input/output error")

    session = Session(read, terms())
    assert session.start(0.0) == [Error(0, b"Input/output error")]
    assert session.over
