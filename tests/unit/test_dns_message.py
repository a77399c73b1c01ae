"""DNS messages: what a forwarder reads, and what it makes itself, judged by dnspython."""

from __future__ import annotations

import contextlib
from ipaddress import ip_address

import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wirebay.options.types import Address
from wirebay.services.dns_message import (
    NAME_ERROR,
    NOT_IMPLEMENTED,
    SERVER_FAILURE,
    DnsError,
    Query,
    belongs,
    failure,
    fit,
    local_answer,
    pointer_answer,
    rcode_of,
    read_query,
    with_id,
)

labels = st.binary(min_size=1, max_size=63)
names = st.lists(labels, max_size=3).map(lambda some: dns.name.Name([*some, b""]))
addresses = st.ip_addresses()


def ask(name: str | dns.name.Name = "example.org.", rdtype: str = "A", edns: int | None = None) -> bytes:
    message = dns.message.make_query(name, rdtype, use_edns=False, id=7)
    if edns is not None:
        message.use_edns(0, payload=edns)
    return message.to_wire()


def query(name: str = "example.org.", rdtype: str = "A", edns: int | None = None) -> Query:
    return read_query(ask(name, rdtype, edns))


def answer_to(asked: Query, texts: int = 0) -> bytes:
    answer = dns.message.make_response(dns.message.from_wire(asked.data))
    for number in range(texts):
        rrset = dns.rrset.from_text(answer.question[0].name, 5, "IN", "TXT", f'"{number:0200}"')
        answer.answer.append(rrset)
    return answer.to_wire(max_size=65535)


def read_or_refuse(data: bytes) -> tuple[Query | None, bytes]:
    try:
        return read_query(data), b""
    except DnsError as error:
        return None, error.answer or b""


@given(names, st.integers(0, 65535), st.none() | st.integers(0, 65535), st.integers(0, 65535))
def test_a_query_is_read_as_it_was_written(
    name: dns.name.Name, kind: int, edns: int | None, ident: int
) -> None:
    data = with_id(ask(name, f"TYPE{kind}", edns), ident)
    if kind in (251, 252):
        with pytest.raises(DnsError):
            read_query(data)
        return
    read = read_query(data)
    assert (read.id, read.rdtype, read.edns, read.internet) == (ident, kind, edns, True)
    assert dns.name.from_text(read.name) == name
    assert read.data == data


@given(st.binary(max_size=80) | st.binary(max_size=60).map(lambda tail: b"\0\1\1\0\0\1\0\0\0\0\0\1" + tail))
def test_any_bytes_are_a_query_or_an_error_with_no_more_than_came(data: bytes) -> None:
    read, refusal = read_or_refuse(data)
    if read is None:
        assert len(refusal) <= len(data) + 11  # the longest is one with an EDNS record
        assert not refusal or refusal[:2] == data[:2]
        return
    for made in (failure(read, SERVER_FAILURE), local_answer(read, []), pointer_answer(read, "host.lan")):
        with contextlib.suppress(dns.exception.DNSException):
            assert dns.message.from_wire(made).id == read.id


@pytest.mark.parametrize(
    ("data", "reason", "rcode"),
    [
        (b"", "short", None),
        (bytes(11), "short", None),
        (answer_to(query()), "not_a_query", None),
        (b"\0\7\x28\0" + ask()[4:], "opcode", 4),
        (b"\0\7\1\0\0\2" + ask()[6:], "format", 1),
        (ask()[:-1], "format", 1),
        (b"\0\7\1\0\0\1\0\0\0\0\xff\xff" + ask()[12:], "format", 1),
        (b"\0\7\1\0\0\1\0\0\0\0\0\0\xc0\x0c\0\1\0\1", "format", 1),
        (ask(rdtype="AXFR"), "transfer", 4),
    ],
    ids=["empty", "cut", "answer", "opcode", "questions", "tail", "counts", "pointer", "transfer"],
)
def test_what_is_no_query_is_refused_with_a_reason(data: bytes, reason: str, rcode: int | None) -> None:
    with pytest.raises(DnsError) as error:
        read_query(data)
    assert str(error.value) == reason
    assert (error.value.answer and rcode_of(error.value.answer)) == rcode


def test_a_signed_query_is_read() -> None:
    import dns.tsigkeyring

    message = dns.message.make_query("example.org.", "SOA")
    message.use_tsig(dns.tsigkeyring.from_text({"key.": "c2VjcmV0"}))
    assert read_query(message.to_wire()).name == "example.org"


@pytest.mark.parametrize(
    ("edns", "room", "limit"), [(None, 1472, 512), (4096, 1472, 1472), (100, 1472, 512), (4096, 40, 512)]
)
def test_the_limit_is_the_guests_and_the_mtus(edns: int | None, room: int, limit: int) -> None:
    assert query(edns=edns).limit(room) == limit


def test_an_answer_belongs_to_its_query_in_any_case_of_letters() -> None:
    asked = query("Example.ORG.", "HTTPS")
    answer = answer_to(query("eXample.org.", "HTTPS"))
    assert belongs(with_id(answer, 7), asked, 7)
    assert belongs(with_id(answer_to(asked, 3), 7), asked, 7)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        with_id(answer_to(query()), 8),
        with_id(query().data, 7),
        with_id(answer_to(query("example.net.")), 7),
        with_id(answer_to(query(rdtype="AAAA")), 7),
        with_id(answer_to(query()), 7)[:20],
        b"\0\7\x81\x80" + bytes(8),
    ],
    ids=["empty", "id", "query", "name", "type", "cut", "no question"],
)
def test_other_answers_do_not_belong(answer: bytes) -> None:
    assert not belongs(answer, query(), 7)


def test_letters_in_the_type_are_no_letters() -> None:
    asked, other = query(rdtype="TYPE65"), query(rdtype="TYPE97")  # A and a in ASCII
    assert not belongs(with_id(answer_to(other), 7), asked, 7)


def test_a_refusal_may_be_a_header_alone() -> None:
    assert belongs(b"\0\7\x81\x85" + bytes(8), query(), 7)


def test_an_answer_that_fits_is_not_touched() -> None:
    asked = query(rdtype="TXT", edns=1232)
    answer = answer_to(asked, 5)
    assert fit(answer, asked, len(answer)) is answer


@pytest.mark.parametrize("edns", [None, 1232])
def test_an_answer_that_does_not_is_a_head_that_says_so(edns: int | None) -> None:
    asked = query(rdtype="TXT", edns=edns)
    cut = fit(answer_to(asked, 20), asked, 1232)
    read = dns.message.from_wire(cut)
    assert read.flags & dns.flags.TC
    assert read.flags & dns.flags.QR
    assert (read.id, read.edns, read.answer) == (asked.id, -1 if edns is None else 0, [])
    assert len(cut) <= len(asked.data)


@pytest.mark.parametrize("edns", [None, 4096])
def test_a_failure_repeats_the_question(edns: int | None) -> None:
    read = dns.message.from_wire(failure(query(edns=edns), NAME_ERROR))
    assert read.rcode() == dns.rcode.NXDOMAIN
    assert read.question[0].to_text() == "example.org. IN A"
    assert (read.edns >= 0) == (edns is not None)


@given(st.lists(addresses, max_size=5, unique=True), st.sampled_from(["A", "AAAA", "ANY", "TXT", "PTR"]))
def test_a_name_of_ours_has_the_addresses_that_were_asked_for(some: list[Address], rdtype: str) -> None:
    read = dns.message.from_wire(local_answer(query("vm.lan.", rdtype), some))
    told = {ip_address(record.address) for rrset in read.answer for record in rrset}
    versions = {"A": {4}, "AAAA": {6}, "ANY": {4, 6}}.get(rdtype, set())
    assert told == {address for address in some if address.version in versions}
    assert read.rcode() == dns.rcode.NOERROR
    assert read.flags & dns.flags.AA


def test_an_address_of_ours_has_a_name() -> None:
    read = dns.message.from_wire(pointer_answer(query("2.2.0.10.in-addr.arpa.", "PTR"), "host.lan"))
    assert [rrset.to_text() for rrset in read.answer] == ["2.2.0.10.in-addr.arpa. 10 IN PTR host.lan."]
    assert not dns.message.from_wire(pointer_answer(query("2.2.0.10.in-addr.arpa.", "A"), "host.lan")).answer


def test_not_implemented_is_what_a_transfer_gets() -> None:
    with pytest.raises(DnsError) as error:
        read_query(ask(rdtype="IXFR"))
    assert error.value.answer is not None
    assert rcode_of(error.value.answer) == NOT_IMPLEMENTED
