"""The TFTP server: which requests it takes, its errors, its bounds, and its place on the service channel."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.lab import open_descriptors, until
from wirebay.services.channel import Datagram, ServiceChannel
from wirebay.services.channel import decode as read_packet
from wirebay.services.channel import encode as to_packet
from wirebay.services.tftp import IDLE, MAX_SESSIONS, MAX_SESSIONS_OF_GUEST, TftpServer, serve_tftp
from wirebay.services.tftp_message import Ack, Data, Error, OptionAck, Packet, Request, decode, encode

GUEST = bytes.fromhex("525400123456")
HOST = ip_address("10.0.2.2")
FILES = {b"boot": bytes(range(256)) * 20, b"text": b"one\ntwo\r"}


def open_file(name: bytes) -> int:
    if name == b"secret":
        raise PermissionError(errno.EACCES, "Permission denied")
    if name == b"full":
        raise OSError(errno.EMFILE, "Too many open files")
    if name not in FILES:
        raise FileNotFoundError(errno.ENOENT, "No such file or directory")
    fd = os.memfd_create("file")
    os.pwrite(fd, FILES[name], 0)
    return fd


def datagram(packet: Packet | bytes, port: int = 2000, *, mac: bytes = GUEST, v6: bool = False) -> Datagram:
    return Datagram(
        mac=mac,
        source=ip_address("fec0::15" if v6 else "10.0.2.15"),
        destination=ip_address("fec0::2") if v6 else HOST,
        source_port=port,
        destination_port=69,
        payload=packet if isinstance(packet, bytes) else encode(packet),
    )


class Rig:
    """A server and its time."""

    def __init__(self, mtu: int = 1500) -> None:
        self.server = TftpServer(open_file, mtu)
        self.now = 0.0

    def ask(self, packet: Packet | bytes, port: int = 2000, **of: Any) -> list[Packet]:
        answers = self.server.handle(datagram(packet, port, **of), self.now)
        assert all((answer.source_port, answer.destination_port) == (69, port) for answer in answers)
        return [decode(answer.payload) for answer in answers]


def request(name: bytes = b"boot", mode: bytes = b"octet", **options: bytes) -> Request:
    return Request(name, mode, {key.encode(): value for key, value in options.items()})


def test_a_file_is_sent_block_by_block() -> None:
    rig, received, block = Rig(), b"", 1
    packets = rig.ask(request())
    while packets:
        (packet,) = packets
        assert isinstance(packet, Data)
        assert packet.block == block
        received += packet.data
        packets = rig.ask(Ack(block))
        block += 1
    assert received == FILES[b"boot"]
    assert rig.server.deadline is None


def test_netascii_is_translated() -> None:
    assert Rig().ask(request(b"text", b"netascii")) == [Data(1, b"one\r\ntwo\r\0")]


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        (request(b"nothing"), Error(1, b"File not found")),
        (request(b"secret"), Error(2, b"Access violation")),
        (request(b"full"), Error(0, b"Too many open files")),
        (request(mode=b"mail"), Error(4, b"Unsupported transfer mode")),
        (Request(b"boot", b"octet", write=True), Error(2, b"Access violation")),
        (request(blksize=b"large"), Error(8, b"Bad value of option blksize")),
        (request(tsize=b"-1"), Error(8, b"Bad value of option tsize")),
    ],
)
def test_what_cannot_be_served_is_an_error_in_qemus_words(asked: Request, error: Error) -> None:
    rig = Rig()
    before = open_descriptors()
    assert rig.ask(asked) == [error]
    assert rig.server.deadline is None
    assert open_descriptors() == before


@pytest.mark.parametrize(
    ("options", "accepted"),
    [
        ({"tsize": b"0"}, {b"tsize": b"5120"}),
        ({"blksize": b"1024"}, {b"blksize": b"1024"}),
        ({"blksize": b"65464"}, {b"blksize": b"1468"}),
        ({"timeout": b"3", "windowsize": b"8"}, {b"timeout": b"3", b"windowsize": b"8"}),
        ({"windowsize": b"65535"}, {b"windowsize": b"64"}),
        ({"multicast": b"", "tsize": b"0"}, {b"tsize": b"5120"}),
    ],
)
def test_options_are_taken_up_as_far_as_they_go(
    options: dict[str, bytes], accepted: dict[bytes, bytes]
) -> None:
    assert Rig().ask(request(**options)) == [OptionAck(accepted)]


@pytest.mark.parametrize(
    "options", [{"blksize": b"7"}, {"windowsize": b"0"}, {"timeout": b"256"}, {"x": b"y"}]
)
def test_values_that_the_rfcs_do_not_know_are_left_out(options: dict[str, bytes]) -> None:
    assert Rig().ask(request(**options)) == [Data(1, FILES[b"boot"][:512])]


def test_the_size_of_a_translated_text_is_not_told() -> None:
    assert Rig().ask(request(b"text", b"netascii", tsize=b"0")) == [Data(1, b"one\r\ntwo\r\0")]


@pytest.mark.parametrize(("v6", "largest"), [(False, b"1468"), (True, b"1448")])
def test_a_block_fits_the_mtu(v6: bool, largest: bytes) -> None:
    assert Rig().ask(request(blksize=b"1500"), v6=v6) == [OptionAck({b"blksize": largest})]


def test_a_window_of_large_blocks_is_bounded_in_bytes() -> None:
    (answer,) = Rig(mtu=65520).ask(request(blksize=b"65464", windowsize=b"64"))
    assert answer == OptionAck({b"blksize": b"65464", b"windowsize": b"4"})


def test_silence_is_answered_by_the_same_again() -> None:
    rig = Rig()
    first = rig.ask(request())
    assert rig.server.deadline == 1.0
    assert [decode(answer.payload) for answer in rig.server.expire(1.0)] == first
    assert rig.server.expire(1.5) == []


def test_a_request_that_comes_twice_begins_once() -> None:
    rig = Rig()
    assert rig.ask(request()) == rig.ask(request())
    rig.ask(Ack(1))
    assert rig.ask(request()) == []
    assert rig.ask(Ack(2)) == [Data(3, FILES[b"boot"][1024:1536])]


def test_a_client_that_started_over_is_served_from_the_start() -> None:
    rig = Rig()
    first = rig.ask(request())
    rig.ask(Ack(1))
    rig.now = 2.0
    assert rig.ask(request()) == first
    assert rig.ask(request(b"text")) == [Data(1, FILES[b"text"])]


def test_one_guest_has_twenty_sessions_and_leaves_room_for_others() -> None:
    rig = Rig()
    for port in range(MAX_SESSIONS_OF_GUEST):
        assert rig.ask(request(), port)
    assert rig.ask(request(), 5000) == []
    assert rig.server.drops == {"too_many_sessions": 1}
    assert rig.ask(request(), 5000, mac=b"\2" * 6)


def test_the_session_that_was_silent_longest_gives_way() -> None:
    rig = Rig()
    for port in range(MAX_SESSIONS_OF_GUEST):
        rig.ask(request(), port)
    rig.now = 1.0
    rig.ask(Ack(1), 0)
    rig.now = IDLE
    assert rig.ask(request(), 5000)
    assert rig.ask(Ack(1), 1) == []
    assert rig.ask(Ack(2), 0)


def test_all_guests_together_have_a_bound() -> None:
    rig = Rig()
    before = open_descriptors()
    for number in range(MAX_SESSIONS + 10):
        rig.ask(request(), mac=number.to_bytes(6, "big"))
    assert rig.server.drops == {"too_many_sessions": 10}
    assert len(open_descriptors()) - len(before) == MAX_SESSIONS
    rig.server.close()
    assert open_descriptors() == before


@given(st.binary(max_size=60) | st.builds(Ack, st.integers(0, 65535)).map(encode))
def test_anything_else_is_counted_and_not_answered(data: bytes) -> None:
    rig = Rig()
    if data[:2] not in (b"\0\1", b"\0\2"):
        assert rig.ask(data) == []
        assert rig.server.drops.total() == 1


@pytest.mark.anyio
async def test_on_the_channel_lost_answers_are_repeated_and_all_ends_with_it() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    theirs.setblocking(False)
    before, now = open_descriptors(), [0.0]
    channel = ServiceChannel(ours)
    server = TftpServer(open_file, 1500)
    tasks = [asyncio.create_task(serve_tftp(channel, server, [HOST], lambda: now[0]))]
    await asyncio.sleep(0)
    tasks.append(asyncio.create_task(channel.serve()))
    loop = asyncio.get_running_loop()
    with theirs:
        for at in (0.0, 2.0):  # the second is answered twice: on its own, and because time ran out
            theirs.send(to_packet(datagram(request())))
            answer = read_packet(await asyncio.wait_for(loop.sock_recv(theirs, 65536), 5))
            assert decode(answer.payload) == Data(1, FILES[b"boot"][:512])
            now[0] = at + 1.5
        theirs.send(to_packet(datagram(Ack(9))))
        await asyncio.wait_for(loop.sock_recv(theirs, 65536), 5)
        tasks[0].cancel()
        await asyncio.wait(tasks[:1])
        assert open_descriptors() == before
        theirs.send(to_packet(datagram(request())))
        await until(lambda: channel.drops["no_service"] == 1)
    await asyncio.wait_for(tasks[1], 5)
    channel.close()
