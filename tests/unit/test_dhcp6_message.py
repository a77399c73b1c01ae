"""DHCPv6 messages as bytes: what is read, what is refused, what is written."""

from __future__ import annotations

from ipaddress import IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wirebay.services.dhcp6_message import (
    Dhcp6Error,
    Dhcp6Message,
    IaAddress,
    IaNa,
    decode,
    decode_ia_na,
    encode,
    encode_ia_na,
)

seconds = st.integers(0, 2**32 - 1)
codes = st.sampled_from([1, 2, 3, 4, 5, 6, 8, 13, 14, 25]) | st.integers(0, 65535)
options = st.lists(st.tuples(codes, st.binary(max_size=40)), max_size=6).map(tuple)
messages = st.builds(Dhcp6Message, kind=st.integers(0, 255), xid=st.integers(0, 2**24 - 1), options=options)
ia_nas = st.builds(
    IaNa,
    iaid=seconds,
    t1=seconds,
    t2=seconds,
    addresses=st.lists(
        st.builds(IaAddress, address=st.ip_addresses(v=6), preferred=seconds, valid=seconds), max_size=3
    ).map(tuple),
    options=options.map(lambda pairs: tuple(pair for pair in pairs if pair[0] != 5)),
)


@given(messages)
def test_a_message_that_is_written_is_read_again(message: Dhcp6Message) -> None:
    assert decode(encode(message)) == message


@given(ia_nas)
def test_an_address_that_is_written_is_read_again(ia: IaNa) -> None:
    assert decode_ia_na(encode_ia_na(ia)) == ia


@given(st.binary(max_size=200) | messages.map(encode).flatmap(lambda data: st.just(data[: len(data) // 2])))
def test_any_bytes_are_read_canonically_or_refused(data: bytes) -> None:
    try:
        message = decode(data)
    except Dhcp6Error:
        return
    assert encode(message) == data


@given(st.binary(max_size=100))
def test_any_bytes_are_an_address_or_refused(data: bytes) -> None:
    try:
        ia = decode_ia_na(data)
    except Dhcp6Error:
        return
    assert decode_ia_na(encode_ia_na(ia)) == ia


def test_a_message_is_that_of_the_rfc() -> None:
    data = bytes.fromhex("01 123456 0001 0002 abcd 0006 0004 00170018".replace(" ", ""))
    message = decode(data)
    assert (message.kind, message.xid, message.option(1)) == (1, 0x123456, b"\xab\xcd")
    assert message.asks_for(23)
    assert message.asks_for(24)
    assert not message.asks_for(0x1700)


def test_an_ia_na_is_that_of_the_rfc() -> None:
    address = IPv6Address("fec0::15")
    value = encode_ia_na(
        IaNa(iaid=1, t1=2, t2=3, addresses=(IaAddress(address=address, preferred=4, valid=5),))
    )
    assert value.hex() == "000000010000000200000003" + "00050018" + address.packed.hex() + "0000000400000005"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "fewer"),
        (b"\1\0\0", "fewer"),
        (b"\1\0\0\0\0\1\0", "no length"),
        (b"\1\0\0\0\0\1\0\2x", "option 1 is longer"),
    ],
)
def test_what_is_malformed_is_refused_with_the_reason(data: bytes, reason: str) -> None:
    with pytest.raises(Dhcp6Error, match=reason):
        decode(data)


@pytest.mark.parametrize(
    "value", [bytes(11), bytes(12) + b"\0\5\0\x17" + bytes(23), bytes(12) + b"\0\5\0\x18"]
)
def test_an_address_without_its_times_is_refused(value: bytes) -> None:
    with pytest.raises(Dhcp6Error):
        decode_ia_na(value)
