"""PROXY protocol headers: what is written is read again, byte by byte as it comes, and no bytes crash."""

from __future__ import annotations

import contextlib
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wirebay.options.types import Address
from wirebay.services.proxy import MAX_BINARY, SIGNATURE, Peers, ProxyError, decode, encode, missing

ports = st.integers(0, 65535)


def peers_with(addresses: st.SearchStrategy[Address]) -> st.SearchStrategy[Peers]:
    return st.builds(
        Peers, source=addresses, destination=addresses, source_port=ports, destination_port=ports
    )


peers = peers_with(st.ip_addresses(v=4)) | peers_with(st.ip_addresses(v=6))


def text_of(told: Peers) -> bytes:
    family = f"TCP{told.source.version}"
    words = ("PROXY", family, told.source, told.destination, told.source_port, told.destination_port)
    return " ".join(map(str, words)).encode() + b"\r\n"


def read_exactly(data: bytes) -> bytes:
    """Read as a socket is read: as much as is missing, never more."""
    head = b""
    while more := missing(head):
        if len(head) == len(data):
            raise ProxyError("short")
        head += data[len(head) : len(head) + more]
    return head


@given(st.none() | peers, st.binary(max_size=40))
def test_what_is_written_is_read_again_and_not_a_byte_more(told: Peers | None, rest: bytes) -> None:
    head = read_exactly(encode(told) + rest)
    assert head == encode(told)
    assert decode(head) == told


@given(peers, st.binary(max_size=40))
def test_a_line_of_text_is_read_and_not_a_byte_more(told: Peers, rest: bytes) -> None:
    head = read_exactly(text_of(told) + rest)
    assert head == text_of(told)
    assert decode(head) == told


@given(peers, st.binary(max_size=200))
def test_further_fields_belong_to_the_header(told: Peers, fields: bytes) -> None:
    head = encode(told)
    longer = head[:14] + (len(head) - 16 + len(fields)).to_bytes(2, "big") + head[16:] + fields
    assert read_exactly(longer + b"GET /") == longer
    assert decode(longer) == told


@given(
    st.binary(max_size=60)
    | st.binary(max_size=60).map(lambda tail: SIGNATURE + tail)
    | st.binary(max_size=120).map(lambda tail: b"PROXY " + tail)
)
def test_any_bytes_are_a_header_or_an_error(data: bytes) -> None:
    with contextlib.suppress(ProxyError):
        head = read_exactly(data)
        told = decode(head)
        assert decode(encode(told)) == told


@given(peers)
def test_every_beginning_of_a_header_misses_something(told: Peers) -> None:
    for whole in (encode(told), text_of(told)):
        for size in range(len(whole)):
            assert 0 < missing(whole[:size]) <= len(whole) - size
            with pytest.raises(ProxyError):
                decode(whole[:size])


@pytest.mark.parametrize("line", [b"PROXY UNKNOWN\r\n", b"PROXY UNKNOWN ::1 ::1 1 2 or anything\r\n"])
def test_an_unknown_client_is_none(line: bytes) -> None:
    assert decode(read_exactly(line)) is None


@pytest.mark.parametrize("family", [0x00, 0x12, 0x31])
def test_what_is_no_tcp_connection_is_none(family: int) -> None:
    assert decode(SIGNATURE + bytes((0x21, family, 0, 4)) + b"1234") is None


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"GET / HTTP/1.1\r\n", "no PROXY header"),
        (b"\r\n\r\n\0\r\nQUITx123", "no PROXY header"),
        (SIGNATURE + b"\x11\x11\0\0", "0x11 are not known"),
        (SIGNATURE + b"\x22\x11\0\0", "0x22 are not known"),
        (SIGNATURE + b"\x21\x11" + (MAX_BINARY + 1).to_bytes(2, "big"), "more than"),
        (SIGNATURE + b"\x21\x11\0\x08" + bytes(8), "cut off"),
        (b"PROXY " + b"x" * 110, "longer"),
        (b"PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n", "malformed"),
        (b"PROXY TCP5 1.2.3.4 1.2.3.4 1 2\r\n", "malformed"),
        (b"PROXY TCP4 1.2.3.4.5 1.2.3.4 1 2\r\n", "malformed address"),
        (b"PROXY TCP4 ::1 ::1 1 2\r\n", "another family"),
        (b"PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n", "malformed port"),
        (b"PROXY TCP4 1.2.3.4 1.2.3.4 1 -2\r\n", "malformed port"),
        (b"PROXY \r\nmore", "follow"),
    ],
)
def test_what_is_no_header_is_refused_with_a_reason(data: bytes, reason: str) -> None:
    with pytest.raises(ProxyError, match=reason):
        decode(data)


def test_a_header_is_as_the_protocol_says() -> None:
    told = Peers(
        source=ip_address("192.0.2.1"),
        destination=ip_address("192.0.2.2"),
        source_port=4000,
        destination_port=80,
    )
    assert encode(told).hex() == "0d0a0d0a000d0a515549540a" + "2111000c" + "c0000201c0000202" + "0fa00050"
    assert encode(None).hex() == "0d0a0d0a000d0a515549540a" + "20000000"
