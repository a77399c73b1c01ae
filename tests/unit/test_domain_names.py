"""Domain names on the wire, and which names of guests are taken."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wirebay.services.domain_names import (
    decode_name,
    encode_name,
    encode_search,
    name_of_client,
    name_of_client6,
)

labels = st.from_regex(r"[a-z]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)
names = st.lists(labels, min_size=1, max_size=4).map(".".join)


def read_search(data: bytes) -> list[str]:
    """A search list read the plain way: label after label, jumping where a pointer says."""
    found, position = [], 0
    while position < len(data):
        parts, at, end = [], position, None
        while data[at]:
            if data[at] >= 0xC0:
                end = end or at + 2
                at = (data[at] & 0x3F) << 8 | data[at + 1]
                continue
            parts.append(data[at + 1 : at + 1 + data[at]].decode())
            at += 1 + data[at]
        position = end or at + 1
        found.append(".".join(parts))
    return found


@given(names)
def test_a_name_that_is_written_is_read_again(name: str) -> None:
    assert decode_name(encode_name(name)) == name
    assert decode_name(encode_name(name)[:-1]) == name


@given(st.lists(names, max_size=8))
def test_a_search_list_that_is_written_is_read_again_and_is_never_longer_than_without_pointers(
    search: list[str],
) -> None:
    data = encode_search(search)
    assert read_search(data) == search
    assert len(data) <= sum(len(encode_name(name)) for name in search)


def test_a_long_search_list_has_no_pointer_beyond_what_one_can_say() -> None:
    search = [f"{number:05}{'x' * 55}.{number:05}{'y' * 55}" for number in range(300)] * 2
    assert read_search(encode_search(search)) == search


def test_a_search_list_is_that_of_the_rfc() -> None:
    """RFC 3397 section 2, with the labels of its example."""
    data = encode_search(["eng.apple.com", "marketing.apple.com"])
    assert data == b"\3eng\5apple\3com\0\x09marketing\xc0\4"


@given(st.binary(max_size=80))
def test_any_bytes_are_a_host_name_or_none(data: bytes) -> None:
    for name in (decode_name(data), name_of_client(data, data), name_of_client6(data)):
        assert name is None or (name == name.lower() and name.isascii() and " " not in name)


@pytest.mark.parametrize(
    ("host_name", "fqdn", "name"),
    [
        (b"Box", None, "box"),
        (b"box\0", None, "box"),
        (b"box", b"\0\0\0", "box"),
        (b"box", b"\0\0\0full.example", "full.example"),
        (b"box", b"\4\0\0\4full\7example\0", "full.example"),
        (b"box", b"\4\0\0\x40", "box"),
        (None, b"\4", None),
        (None, None, None),
    ],
)
def test_the_full_name_comes_before_the_short_one(
    host_name: bytes | None, fqdn: bytes | None, name: str | None
) -> None:
    assert name_of_client(host_name, fqdn) == name
