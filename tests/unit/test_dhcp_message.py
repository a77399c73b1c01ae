"""DHCP messages as bytes: what is read, what is refused, what is written."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from wirebay.services.dhcp_message import DhcpError, DhcpMessage, decode, encode

MAC = bytes.fromhex("525400123456")
COOKIE = bytes.fromhex("63825363")


def raw(
    options: bytes = b"", *, op: int = 1, htype: int = 1, hlen: int = 6, sname: bytes = b"", file: bytes = b""
) -> bytes:
    """A message put together by hand, byte by byte after RFC 2131 figure 1."""
    head = bytes((op, htype, hlen, 0)) + struct.pack("!IHH", 0xDEADBEEF, 3, 0x8000)
    addresses = bytes((10, 0, 2, 15)) + bytes(4) + bytes(4) + bytes(4)
    return head + addresses + MAC.ljust(16, b"\0") + sname.ljust(64, b"\0") + file.ljust(128, b"\0") + options


def option(code: int, value: bytes) -> bytes:
    return bytes((code, len(value))) + value


def test_the_fixed_part_is_read_field_by_field() -> None:
    message = decode(raw(COOKIE + b"\xff"))
    assert (message.op, message.xid, message.flags, message.chaddr) == (1, 0xDEADBEEF, 0x8000, MAC)
    assert message.ciaddr == IPv4Address("10.0.2.15")


def test_options_are_read_past_padding_up_to_the_end_mark() -> None:
    area = (
        COOKIE
        + b"\0\0"
        + option(53, b"\3")
        + b"\0"
        + option(50, bytes((10, 0, 2, 20)))
        + b"\xff"
        + option(12, b"x")
    )
    message = decode(raw(area))
    assert message.message_type == 3
    assert message.requested_address == IPv4Address("10.0.2.20")
    assert 12 not in message.options


@pytest.mark.parametrize("size", [236, 240, 300])
def test_without_the_cookie_there_are_no_options(size: int) -> None:
    message = decode(raw().ljust(size, b"\x35"))
    assert message.message_type is None
    assert not message.options


def test_an_option_that_comes_twice_is_one_long_option() -> None:
    message = decode(raw(COOKIE + option(12, b"wire") + option(53, b"\1") + option(12, b"bay")))
    assert message.options[12] == b"wirebay"


@pytest.mark.parametrize(
    ("overload", "expected"),
    [(1, {53: b"\1", 12: b"f"}), (2, {53: b"\1", 12: b"s"}), (3, {53: b"\1", 12: b"fs"})],
)
def test_overloaded_fields_are_read_file_before_sname(overload: int, expected: dict[int, bytes]) -> None:
    area = COOKIE + option(52, bytes((overload,))) + option(53, b"\1") + b"\xff"
    assert decode(raw(area, file=option(12, b"f"), sname=option(12, b"s"))).options == expected


def test_fields_that_are_not_overloaded_are_not_read() -> None:
    message = decode(raw(COOKIE + option(53, b"\1"), file=option(12, b"f"), sname=b"\x0c\xff"))
    assert message.options == {53: b"\1"}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "fewer"),
        (raw()[:235], "fewer"),
        (raw(op=3), "op 3"),
        (raw(htype=6), "hardware type 6"),
        (raw(hlen=16), "16 address bytes"),
        (raw(COOKIE + b"\x0c"), "option 12 has no length"),
        (raw(COOKIE + b"\x0c\x05abcd"), "option 12 is longer"),
        (raw(COOKIE + option(53, b"")), "option 53 does not have 1"),
        (raw(COOKIE + option(53, b"\1\1")), "option 53 does not have 1"),
        (raw(COOKIE + option(53, b"\1") + option(53, b"\1")), "option 53 does not have 1"),
        (raw(COOKIE + option(50, b"\1\2\3")), "option 50 does not have 4"),
        (raw(COOKIE + option(54, b"\1\2\3\4\5")), "option 54 does not have 4"),
        (raw(COOKIE + option(52, b"\4")), "option 52"),
        (raw(COOKIE + option(52, b"")), "option 52"),
        (raw(COOKIE + option(52, b"\1"), file=b"\x0c\xff"), "option 12 is longer"),
    ],
)
def test_what_is_malformed_is_refused_with_the_reason(data: bytes, reason: str) -> None:
    with pytest.raises(DhcpError, match=reason):
        decode(data)


@given(st.binary(max_size=600) | st.binary(max_size=400).map(lambda tail: raw(COOKIE + tail)))
@example(b"")
def test_any_bytes_are_a_message_or_a_dhcp_error(data: bytes) -> None:
    try:
        message = decode(data)
    except DhcpError:
        return
    assert len(message.chaddr) == 6


addresses = st.ip_addresses(v=4)
messages = st.builds(
    DhcpMessage,
    op=st.sampled_from((1, 2)),
    xid=st.integers(0, 2**32 - 1),
    chaddr=st.binary(min_size=6, max_size=6),
    flags=st.integers(0, 2**16 - 1),
    ciaddr=addresses,
    yiaddr=addresses,
    siaddr=addresses,
    giaddr=addresses,
    file=st.binary(max_size=128).filter(lambda name: b"\0" not in name),
    options=st.dictionaries(
        st.integers(1, 254).filter(lambda code: code not in (50, 52, 53, 54)), st.binary(max_size=600)
    ),
)


@given(messages)
def test_what_is_written_is_read_back(message: DhcpMessage) -> None:
    data = encode(message)
    assert decode(data) == message
    assert len(data) >= 300


def test_options_are_written_in_the_order_given() -> None:
    message = DhcpMessage(op=2, xid=1, chaddr=MAC, options={53: b"\5", 1: b"\xff\xff\xff\0", 12: b"vm"})
    assert encode(message)[236:].rstrip(b"\0") == COOKIE + bytes.fromhex("350105 0104ffffff00 0c02766d ff")
