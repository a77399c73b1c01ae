"""QMP's messages: cut out of a stream, taken apart, put together. The sentences are those of QEMU 7.2."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wirebay.control.message import (
    MAX_DEPTH,
    MAX_MESSAGE,
    BadMessageError,
    Splitter,
    TooLongError,
    decode,
    encode,
    event,
)

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
REQUEST = st.fixed_dictionaries(
    {"execute": TEXT}, optional={"arguments": st.dictionaries(TEXT, JSON, max_size=4), "id": JSON}
)


def split(chunks: Iterable[bytes]) -> list[bytes]:
    splitter = Splitter()
    return [message for chunk in chunks for message in splitter.feed(chunk)]


def chunks(data: bytes, cuts: Iterable[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[start:end] for start, end in pairwise(edges)]


@given(st.lists(REQUEST, max_size=4), st.lists(st.integers(0, 1 << 16), max_size=8))
def test_requests_come_out_as_they_went_in_however_they_are_cut(
    requests: list[dict[str, Any]], cuts: list[int]
) -> None:
    stream = b"".join(map(encode, requests))
    decoded = [decode(message) for message in split(chunks(stream, cuts))]
    assert [(one.command, one.arguments, one.members) for one in decoded] == [
        (one["execute"], one.get("arguments", {}), {"id": one["id"]} if "id" in one else {})
        for one in requests
    ]


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=5))
def test_any_bytes_are_cut_the_same_whatever_the_pieces(data: bytes, cuts: list[int]) -> None:
    def outcome(pieces: list[bytes]) -> list[bytes] | str:
        try:
            return split(pieces)
        except TooLongError as error:
            return str(error)

    assert outcome(chunks(data, cuts)) == outcome([data])


@given(st.binary(max_size=200) | st.from_regex(r"[][{}\"'\\:,a0 ]{0,30}", fullmatch=True).map(str.encode))
def test_any_message_is_a_request_or_refused(data: bytes) -> None:
    try:
        messages = split([data + b"\n"])
    except TooLongError:
        return
    for message in messages:
        with suppress(BadMessageError):
            encode(decode(message).members)


@pytest.mark.parametrize(
    ("stream", "messages"),
    [
        (b'{"a":1}{"b":2}', [b'{"a":1}', b'{"b":2}']),
        (b'\r\n {"a":\n[{}]}\n', [b'{"a":\n[{}]}']),
        (b"""{'a':'}"'}""", [b"""{'a':'}"'}"""]),
        (rb'{"a":"\"}"}', [rb'{"a":"\"}"}']),
        (b"word [1] }", [b"word", b"[1]", b"}"]),
        (b'"{" {}', [b'"{"', b"{}"]),
        (b"{]{", [b"{]"]),
        (b'{"half', []),
        (b"half", []),
    ],
)
def test_brackets_and_quotes_tell_where_a_message_ends(stream: bytes, messages: list[bytes]) -> None:
    assert split([stream]) == messages
    assert split(bytes((byte,)) for byte in stream) == messages


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        (b"garbage", "JSON parse error, invalid keyword 'garbage'"),
        (b"}", "JSON parse error, expecting value"),
        (b"[]", "QMP input must be a JSON object"),
        (b"1", "QMP input must be a JSON object"),
        (b"true", "QMP input must be a JSON object"),
        (b'"x"', "QMP input must be a JSON object"),
        (b"{}", "QMP input lacks member 'execute'"),
        (b'{"execute": 1}', "QMP input member 'execute' must be a string"),
        (b'{"execute": "x", "arguments": 1}', "QMP input member 'arguments' must be an object"),
        (b'{"execute": "x", "bogus": 1}', "QMP input member 'bogus' is unexpected"),
        (b'{"exec-oob": "x"}', "QMP input member 'exec-oob' is unexpected"),
        (b'{"execute": "x", "id": 1, "id": 2}', "JSON parse error, duplicate key"),
        (b'{"execute": "x", "id": 1e400}', "JSON parse error, a number is out of range"),
        (b'{"execute": "x", "id": NaN}', "JSON parse error, a number is out of range"),
        (b'{"execute": "\\u0000"}', "JSON parse error, a text has a character that is none"),
        (b'{"execute": "x", "id": ["\\ud800"]}', "JSON parse error, a text has a character that is none"),
        (b'{"execute": "\xff"}', "JSON parse error, invalid UTF-8"),
    ],
)
def test_what_is_no_request_is_refused_in_qemus_words(message: bytes, sentence: str) -> None:
    with pytest.raises(BadMessageError) as error:
        decode(message)
    assert str(error.value) == sentence


def test_a_refusal_keeps_the_id_that_was_sent() -> None:
    with pytest.raises(BadMessageError) as error:
        decode(b'{"id": [1, {"a": 2}]}')
    assert error.value.members == {"id": [1, {"a": 2}]}


@pytest.mark.parametrize("chunk", [1, 1000, MAX_MESSAGE * 2])
def test_a_message_of_the_greatest_length_passes_and_a_longer_one_does_not(chunk: int) -> None:
    for extra in (0, 1):
        message = b'{"' + b"x" * (MAX_MESSAGE - 4 + extra) + b'"}'
        pieces = [message[at : at + chunk] for at in range(0, len(message), chunk)]
        if extra:
            with pytest.raises(TooLongError, match=f"longer than {MAX_MESSAGE} bytes"):
                split(pieces)
        else:
            assert split(pieces) == [message]


@pytest.mark.parametrize("start", [b"x", b'"', b"'", b'{"a": ', b'["', b'{"a\\'])
def test_what_never_ends_is_not_kept(start: bytes) -> None:
    with pytest.raises(TooLongError):
        split([start, *[b"y" * 100] * (MAX_MESSAGE // 100 + 1)])


def test_blanks_without_end_are_not_kept() -> None:
    splitter = Splitter()
    assert not [message for _ in range(3) for message in splitter.feed(b" \r\n" * MAX_MESSAGE)]
    assert list(splitter.feed(b"{}")) == [b"{}"]


def test_brackets_in_each_other_have_a_limit() -> None:
    assert split([b"[" * MAX_DEPTH + b"]" * MAX_DEPTH])
    with pytest.raises(TooLongError, match=f"more than {MAX_DEPTH} brackets"):
        split([b"[" * (MAX_DEPTH + 1)])


@pytest.mark.parametrize(
    ("now", "stamp"),
    [
        (1.5, {"seconds": 1, "microseconds": 500_000}),
        (2.9999999, {"seconds": 3, "microseconds": 0}),
    ],
)
def test_an_event_has_its_time_in_two_whole_numbers(now: float, stamp: dict[str, int]) -> None:
    assert event("SHUTDOWN", {"a": 1}, now) == {"timestamp": stamp, "event": "SHUTDOWN", "data": {"a": 1}}


@given(st.dictionaries(TEXT, JSON))
def test_what_is_sent_is_one_line_of_ascii(members: dict[str, Any]) -> None:
    sent = encode(members)
    assert sent.isascii()
    assert sent.endswith(b"\r\n")
    assert b"\n" not in sent[:-1]
    assert json.loads(sent) == members
