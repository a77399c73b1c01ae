"""The service channel: its format, and who gets which datagram."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wirebay.services.channel import (
    HEADER_SIZE,
    ChannelError,
    Datagram,
    Handler,
    ServiceChannel,
    decode,
    encode,
)

MAC = bytes.fromhex("525400123456")
QUESTION = Datagram(
    mac=MAC,
    source=IPv4Address("10.0.2.15"),
    destination=IPv4Address("10.0.2.2"),
    source_port=4000,
    destination_port=69,
    payload=b"question",
)

ports = st.integers(0, 0xFFFF)
# An IPv4 address in IPv6 clothes is an IPv4 address here.
addresses = st.ip_addresses().filter(lambda a: not (isinstance(a, IPv6Address) and a.ipv4_mapped))
datagrams = st.builds(
    Datagram,
    mac=st.binary(min_size=6, max_size=6),
    source=addresses,
    destination=addresses,
    source_port=ports,
    destination_port=ports,
    payload=st.binary(max_size=2000),
)


@given(datagrams)
def test_what_is_written_is_read_again(datagram: Datagram) -> None:
    assert decode(encode(datagram)) == datagram


@given(st.binary(max_size=200))
def test_any_bytes_are_read_canonically_or_refused(packet: bytes) -> None:
    if len(packet) < HEADER_SIZE:
        with pytest.raises(ChannelError):
            decode(packet)
    else:
        assert encode(decode(packet)) == packet


def test_the_header_is_that_of_the_protocol() -> None:
    packet = encode(replace(QUESTION, destination=IPv6Address("fec0::2")))
    assert packet[:6] == MAC
    assert packet[6:22] == bytes(10) + b"\xff\xff" + bytes((10, 0, 2, 15))
    assert packet[22:38] == IPv6Address("fec0::2").packed
    assert packet[38:42] == bytes.fromhex("0fa00045")
    assert packet[42:] == b"question"


def test_an_answer_goes_back_the_way_the_question_came() -> None:
    answer = QUESTION.answer(b"answer")
    assert answer.answer(b"question") == QUESTION
    other = QUESTION.answer(b"answer", source=IPv4Address("10.0.2.3"))
    assert (other.source, other.destination, other.mac) == (IPv4Address("10.0.2.3"), QUESTION.source, MAC)


def named(name: str) -> Handler:
    """A handler that answers with its name."""

    def handler(datagram: Datagram) -> Iterable[Datagram]:
        return [datagram.answer(name.encode())]

    return handler


async def exchange(channel: ServiceChannel, far: socket.socket, *questions: bytes) -> list[bytes]:
    """Send packets, let the channel serve until it has seen them all, and take what came back."""
    for packet in questions:
        far.send(packet)
    far.shutdown(socket.SHUT_WR)
    await asyncio.wait_for(channel.serve(), 10)
    answers = []
    with suppress(BlockingIOError):
        while packet := far.recv(65536):
            answers.append(packet)
    return answers


def run(setup: Callable[[ServiceChannel], None], *questions: bytes) -> tuple[ServiceChannel, list[bytes]]:
    """A channel set up by a function, and the answers to packets."""
    ours, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    far.setblocking(False)
    with ours, far:
        channel = ServiceChannel(ours)
        setup(channel)
        return channel, asyncio.run(exchange(channel, far, *questions))


def test_a_datagram_goes_to_the_handler_of_its_address_and_port_before_that_of_any_address() -> None:
    def services(channel: ServiceChannel) -> None:
        channel.register(IPv4Address("10.0.2.2"), 69, named("host"))
        channel.register(IPv4Address("10.0.2.4"), 69, named("other"))
        channel.register(None, 69, named("any"))

    questions = [
        encode(replace(QUESTION, destination=ip_address(address)))
        for address in ("10.0.2.2", "10.0.2.4", "ff02::1:2")
    ]
    _, answers = run(services, *questions)
    assert [decode(packet).payload for packet in answers] == [b"host", b"other", b"any"]


def test_what_no_service_wants_is_counted() -> None:
    channel, answers = run(lambda channel: None, encode(QUESTION), b"short")
    assert (answers, channel.drops) == ([], {"no_service": 1, "bad_header": 1})


def test_a_service_that_was_taken_away_gets_nothing_more() -> None:
    def services(channel: ServiceChannel) -> None:
        channel.register(None, 69, named("any"))
        with pytest.raises(ValueError, match="port 69 of None has a service already"):
            channel.register(None, 69, named("again"))
        channel.unregister(None, 69)

    channel, answers = run(services, encode(QUESTION))
    assert (answers, channel.drops) == ([], {"no_service": 1})


def test_a_service_that_fails_is_logged_once_and_harms_no_other(caplog: pytest.LogCaptureFixture) -> None:
    def broken(datagram: Datagram) -> Iterable[Datagram]:
        raise ZeroDivisionError

    def services(channel: ServiceChannel) -> None:
        channel.register(None, 69, broken)
        channel.register(None, 70, named("fine"))

    fine = encode(replace(QUESTION, destination_port=70))
    with caplog.at_level(logging.ERROR):
        channel, answers = run(services, encode(QUESTION), encode(QUESTION), fine)
    assert len(answers) == 1
    assert channel.drops == {"service_failed": 2}
    assert [record.getMessage() for record in caplog.records] == ["the service at port 69 failed"]


def test_what_the_worker_has_no_room_for_is_dropped_and_counted() -> None:
    ours, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, far:
        channel = ServiceChannel(ours)
        while not channel.drops:
            channel.send(replace(QUESTION, payload=bytes(30000)))
        assert channel.drops == {"channel_full": 1}
        far.close()
        channel.send(QUESTION)
        assert channel.drops == {"channel_full": 1, "channel_closed": 1}
