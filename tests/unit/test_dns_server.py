"""The DNS server on the service channel and over TCP, with servers of the host on loopback."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import struct
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_address

import dns.flags
import dns.message
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import pytest

from tests.unit.dns_rig import (
    Answer,
    Guest,
    Upstream,
    a_record,
    question,
    rcode,
    rig,
    silence,
    texts,
    truncated,
)
from tests.unit.lab import until
from wirebay.errors import HostError
from wirebay.services import dns as dns_service
from wirebay.services import dns_lookup, dns_server
from wirebay.services.tcp import Client

pytestmark = pytest.mark.anyio

FIRST, SECOND = ip_address("192.0.2.1"), ip_address("2001:db8::1")


@pytest.fixture
def short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dns_lookup, "PATIENCE", 0.05)


def told(answer: dns.message.Message) -> list[str]:
    return [record.to_text() for rrset in answer.answer for record in rrset]


@asynccontextmanager
async def stream(guest: Guest) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A TCP connection of a guest to the server."""
    far = await guest.service.connect(Client(ip_address("10.0.2.15"), 4000))
    reader, writer = await asyncio.open_connection(sock=far)
    try:
        yield reader, writer
    finally:
        writer.close()


def framed(message: dns.message.Message) -> bytes:
    data = message.to_wire()
    return struct.pack("!H", len(data)) + data


async def read_framed(reader: asyncio.StreamReader) -> dns.message.Message:
    size = int.from_bytes(await asyncio.wait_for(reader.readexactly(2), 10), "big")
    return dns.message.from_wire(await reader.readexactly(size))


async def test_a_question_is_forwarded_and_the_answer_comes_back_with_its_id() -> None:
    upstream = Upstream(FIRST, a_record())
    async with rig([upstream]) as guest:
        asked = question()
        assert told(await guest.ask(asked)) == ["192.0.2.80"]
    assert [query.question for query in upstream.asked] == [asked.question]


@pytest.mark.parametrize("rdtype", ["MX", "HTTPS", "SRV", "CAA", "TYPE65280", "ANY", "DNSKEY"])
async def test_every_record_type_passes_untouched(rdtype: str) -> None:
    kind = dns.rdatatype.from_text(rdtype)
    odd = dns.rdata.GenericRdata(dns.rdataclass.IN, dns.rdatatype.from_text("TYPE65281"), b"\1\2\3")

    def strange(query: dns.message.Message) -> dns.message.Message:
        answer = dns.message.make_response(query)
        answer.answer.append(dns.rrset.from_rdata(query.question[0].name, 5, odd))
        return answer

    async with rig([Upstream(FIRST, strange)]) as guest:
        asked = question(rdtype=rdtype)
        guest.send(asked)
        answer = await guest.receive()
    assert answer == strange(asked).to_wire()
    assert dns.message.from_wire(answer).question[0].rdtype == kind


async def test_questions_go_out_from_ports_and_with_ids_of_their_own() -> None:
    upstream = Upstream(FIRST, a_record())
    async with rig([upstream]) as guest:
        for number in range(8):
            asked = question(f"n{number}.example.org.")
            asked.id = 7
            await guest.ask(asked)
    assert len(upstream.senders) > 4
    assert len({query.id for query in upstream.asked}) > 4


@pytest.mark.parametrize("broken", [silence, rcode(2), rcode(5)], ids=["silent", "SERVFAIL", "REFUSED"])
@pytest.mark.usefixtures("short_patience")
async def test_another_server_is_asked_and_the_bad_one_remembered(broken: Answer) -> None:
    bad, good = Upstream(FIRST, broken), Upstream(SECOND, a_record())
    async with rig([bad, good]) as guest:
        assert told(await guest.ask(question())) == ["192.0.2.80"]
        assert told(await guest.ask(question("other.example.org."))) == ["192.0.2.80"]
    assert (len(bad.asked), len(good.asked)) == (1, 2)


async def test_a_server_that_is_not_there_is_passed_over() -> None:
    async with rig([Upstream(FIRST, a_record()), Upstream(SECOND, a_record("192.0.2.81"))]) as guest:
        nobody = socket.socket(type=socket.SOCK_DGRAM)
        nobody.bind(("127.0.0.1", 0))
        address = nobody.getsockname()
        nobody.close()
        known = guest.service._endpoint
        assert known is not None
        guest.service._endpoint = lambda server: address if server == FIRST else known(server)
        assert told(await guest.ask(question())) == ["192.0.2.81"]


async def test_answers_to_other_questions_are_ignored() -> None:
    def forged(query: dns.message.Message) -> dns.message.Message:
        sent.append(query.id)
        wrong = a_record("192.0.2.66")(dns.message.make_query("example.org.", "A", id=query.id ^ 1))
        assert isinstance(wrong, dns.message.Message)
        upstream._transport.sendto(wrong.to_wire(), ("127.0.0.1", max(upstream.senders)))
        other = a_record("192.0.2.66")(dns.message.make_query("example.com.", "A", id=query.id))
        assert isinstance(other, dns.message.Message)
        upstream._transport.sendto(other.to_wire(), ("127.0.0.1", max(upstream.senders)))
        right = a_record()(query)
        assert isinstance(right, dns.message.Message)
        return right

    sent: list[int] = []
    upstream = Upstream(FIRST, forged)
    async with rig([upstream]) as guest:
        assert told(await guest.ask(question())) == ["192.0.2.80"]
    assert len(sent) == 1


@pytest.mark.parametrize(("edns", "records"), [(None, 2), (1232, 5), (4096, 6)])
async def test_an_answer_as_large_as_the_guest_takes_passes(edns: int | None, records: int) -> None:
    async with rig([Upstream(FIRST, texts(records))]) as guest:
        answer = await guest.ask(question(rdtype="TXT", edns=edns))
    assert len(told(answer)) == records


@pytest.mark.parametrize(("edns", "records"), [(None, 3), (600, 3), (1232, 6), (4096, 7)])
async def test_a_larger_answer_is_cut_to_a_head(edns: int | None, records: int) -> None:
    async with rig([Upstream(FIRST, texts(records))]) as guest:
        asked = question(rdtype="TXT", edns=edns)
        guest.send(asked)
        data = await guest.receive()
    answer = dns.message.from_wire(data)
    assert answer.flags & dns.flags.TC
    assert not answer.answer
    assert len(data) <= len(asked.to_wire())


async def test_truncation_is_passed_on_over_udp_and_resolved_over_tcp() -> None:
    upstream = Upstream(FIRST, truncated, texts(300))
    async with rig([upstream]) as guest:
        assert (await guest.ask(question(rdtype="TXT"))).flags & dns.flags.TC
        async with stream(guest) as (reader, writer):
            writer.write(framed(question(rdtype="TXT")))
            assert len(told(await read_framed(reader))) == 300


async def test_a_connection_serves_many_questions_and_ends_when_the_guest_ends_it() -> None:
    async with rig([Upstream(FIRST, a_record())]) as guest, stream(guest) as (reader, writer):
        writer.write(
            framed(question()) + framed(question("host.")) + framed(question("nothing.wirebay.internal."))
        )
        writer.write_eof()
        answers = [await read_framed(reader) for _ in range(3)]
        assert [told(answer) for answer in answers] == [["192.0.2.80"], ["10.0.2.2"], []]
        assert answers[2].rcode() == dns.rcode.NXDOMAIN
        assert await reader.read() == b""


async def test_connections_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dns_service, "MAX_STREAMS", 1)
    async with rig() as guest:
        async with stream(guest):
            with pytest.raises(HostError, match="1 connections are open already"):
                await guest.service.connect(Client(ip_address("10.0.2.15"), 4001))
        await until(lambda: not guest.service._streams)
        async with stream(guest):
            pass


async def test_what_is_no_query_ends_the_connection() -> None:
    async with rig() as guest, stream(guest) as (reader, writer):
        writer.write(b"\0\3abc")
        assert await asyncio.wait_for(reader.read(), 10) == b""
        assert guest.service.drops == {"short": 1}


async def test_without_a_server_the_guest_is_told_and_the_log_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "wirebay")
    async with rig() as guest:
        for _ in range(3):
            assert (await guest.ask(question())).rcode() == dns.rcode.SERVFAIL
        assert guest.service.drops == {"no_server_answered": 3}
    assert caplog.messages == [
        "user network 'u0': this host has no DNS server in /etc/resolv.conf; names are not resolved"
    ]


@pytest.mark.usefixtures("short_patience")
async def test_silent_servers_are_named_once_until_one_answers(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "wirebay")
    upstream = Upstream(FIRST, silence)
    async with rig([upstream]) as guest:
        for answer in (silence, silence, a_record(), silence):
            upstream.answer = answer
            code = (await guest.ask(question())).rcode()
            assert code == (dns.rcode.SERVFAIL if answer is silence else dns.rcode.NOERROR)
    sentence = (
        "user network 'u0': none of this host's DNS servers answers (192.0.2.1); names are not resolved"
    )
    assert caplog.messages == [sentence, sentence]


async def test_servers_follow_the_host() -> None:
    first, second = Upstream(FIRST, a_record()), Upstream(SECOND, a_record("192.0.2.81"))
    async with rig([first, second]) as guest:
        assert told(await guest.ask(question())) == ["192.0.2.80"]
        await guest.service.set_servers([SECOND])
        assert told(await guest.ask(question())) == ["192.0.2.81"]


async def test_names_of_ours_are_answered_without_a_server() -> None:
    async with rig() as guest:
        assert told(await guest.ask(question("host.lan."))) == ["10.0.2.2"]
        assert told(await guest.ask(question("gateway.", "AAAA"))) == ["fec0::2"]
        assert told(await guest.ask(question("vm.wirebay.internal."))) == ["10.0.2.15"]
        assert told(await guest.ask(question("vm.", "MX"))) == []
        assert told(await guest.ask(question("15.2.0.10.in-addr.arpa.", "PTR"))) == ["vm.lan."]
        for name in ("nothing.lan.", "nothing.wirebay.internal.", "99.2.0.10.in-addr.arpa."):
            assert (await guest.ask(question(name))).rcode() == dns.rcode.NXDOMAIN


async def test_below_a_domain_that_may_be_real_the_hosts_servers_are_asked() -> None:
    upstream = Upstream(FIRST, a_record())
    async with rig([upstream], domains=["example.org"]) as guest:
        assert told(await guest.ask(question("www.example.org."))) == ["192.0.2.80"]
        assert told(await guest.ask(question("vm.example.org."))) == ["10.0.2.15"]
        assert (await guest.ask(question("www.wirebay.internal."))).rcode() == dns.rcode.NXDOMAIN
    assert len(upstream.asked) == 1


async def test_a_name_of_ours_with_many_addresses_is_cut_like_any_answer() -> None:
    async with rig() as guest:
        assert (await guest.ask(question("many."))).flags & dns.flags.TC
        assert len(told(await guest.ask(question("many.", edns=4096)))) == 0
        async with stream(guest) as (reader, writer):
            writer.write(framed(question("many.")))
            assert len(told(await read_framed(reader))) == 100


async def test_a_question_repeated_while_it_is_asked_is_asked_once() -> None:
    upstream = Upstream(FIRST, silence)
    async with rig([upstream]) as guest:
        asked = question()
        for _ in range(5):
            guest.send(asked)
        await guest.dropped("repeated", 4)
        await asyncio.wait_for(until(lambda: bool(upstream.asked)), 10)
        assert len(upstream.asked) == 1


async def test_a_flood_of_one_guest_is_bounded_and_leaves_room_for_others() -> None:
    upstream = Upstream(FIRST, silence)
    async with rig([upstream]) as guest:
        most = dns_server.MAX_LOOKUPS_OF_GUEST
        for number in range(most + 10):
            guest.send(question(f"n{number}.example.org."))
            await asyncio.sleep(0)
        await guest.dropped("too_many", 10)
        upstream.answer = a_record()
        guest.send(question(), mac=b"\2" * 6)
        assert told(dns.message.from_wire(await guest.receive())) == ["192.0.2.80"]


async def test_all_guests_together_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dns_server, "MAX_LOOKUPS", 4)
    monkeypatch.setattr(dns_lookup, "PATIENCE", 1000.0)  # they last as long as this test, however slow it is
    async with rig([Upstream(FIRST, silence)]) as guest:
        for number in range(6):
            guest.send(question(), mac=bytes((number,)) * 6)
        await guest.dropped("too_many", 2)
        async with stream(guest) as (reader, writer):
            writer.write(framed(question("one.more.")))
            assert (await read_framed(reader)).rcode() == dns.rcode.SERVFAIL


async def test_nonsense_is_counted_and_refused_with_no_more_than_came() -> None:
    async with rig() as guest:
        guest.send(b"x" * 5)
        await guest.dropped("short")
        guest.send(b"\0\7\1\0\0\1\0\0\0\0\0\0\xc0\x0c\0\1\0\1")
        assert await guest.receive() == b"\0\7\x81\1" + bytes(8)
        assert guest.service.drops == {"short": 1, "format": 1}


def test_nothing_is_imported_for_dns_before_the_first_query() -> None:
    script = "import sys; import wirebay.services.dns; sys.exit('dns' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run([sys.executable, "-c", script], env=environment, check=False).returncode == 0
