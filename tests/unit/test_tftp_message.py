"""TFTP packets: what is written is read again, what is read is written the same, and no bytes crash."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wirebay.services.tftp_message import (
    Ack,
    Data,
    Error,
    OptionAck,
    Packet,
    Request,
    TftpError,
    decode,
    encode,
)

texts = st.binary(max_size=20).map(lambda text: text.replace(b"\0", b""))
lower = texts.map(bytes.lower)
options = st.dictionaries(lower, texts, max_size=4)
numbers = st.integers(0, 65535)
packets = st.one_of(
    st.builds(Request, texts, lower, options, st.booleans()),
    st.builds(Data, numbers, st.binary(max_size=600)),
    st.builds(Ack, numbers),
    st.builds(Error, numbers, texts),
    st.builds(OptionAck, st.dictionaries(lower, texts, min_size=1, max_size=4)),
)


@given(packets)
def test_what_is_written_is_read_again(packet: Packet) -> None:
    assert decode(encode(packet)) == packet


@given(st.binary(max_size=100) | packets.map(encode).flatmap(lambda data: st.just(data[:-1])))
def test_any_bytes_are_a_packet_or_an_error(data: bytes) -> None:
    with contextlib.suppress(TftpError):
        packet = decode(data)
        assert decode(encode(packet)) == packet


def test_a_request_of_a_real_client_is_read() -> None:
    request = b"\0\1/pxelinux.0\0OCTET\0tsize\x000\0BlkSize\x001468\0"
    assert decode(request) == Request(b"/pxelinux.0", b"octet", {b"tsize": b"0", b"blksize": b"1468"})


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0",
        b"\0\0",
        b"\0\7\0\0",
        b"\0\1a\0octet",
        b"\0\1a\0",
        b"\0\1a\0octet\0x\0",
        b"\0\3\0",
        b"\0\4\1",
    ],
)
def test_what_is_no_packet_is_refused(data: bytes) -> None:
    with pytest.raises(TftpError):
        decode(data)


def test_of_an_option_that_comes_twice_the_first_counts() -> None:
    request = decode(b"\0\1a\0octet\0blksize\x00512\0BLKSIZE\x00600\0")
    assert isinstance(request, Request)
    assert request.options == {b"blksize": b"512"}
