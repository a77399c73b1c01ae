"""Frames through stream ports and hubs."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.wire.guest import Guest
from tests.wire.packets import BROADCAST, ethernet
from wirebay.network import Network

pytestmark = pytest.mark.anyio

LIMIT = 69632
# A protocol number for experiments (IEEE 802): nobody answers to it.
EXPERIMENT = 0x88B5


def frame(number: int, size: int = 60) -> bytes:
    """A frame that can be told from others."""
    start = ethernet(BROADCAST, bytes((2, 0, 0, 0, 0, number)), EXPERIMENT, b"")
    return (start + bytes(range(256)) * (size // 256 + 1))[:size]


async def segment(network: Network, count: int, stack: ExitStack) -> list[Guest]:
    """So many guests on a hub of their own."""
    pairs = [await Guest.on(network, f"vm{number}", number) for number in range(count)]
    await network.join(*(port for _, port in pairs))
    return [stack.enter_context(guest) for guest, _ in pairs]


async def dial(path: Path) -> Guest:
    peer = socket.socket(socket.AF_UNIX)
    peer.setblocking(False)
    await asyncio.get_running_loop().sock_connect(peer, str(path))
    return Guest(peer)


@pytest.mark.parametrize("count", [2, 5])
async def test_a_frame_reaches_all_others_and_not_its_sender(network: Network, count: int) -> None:
    with ExitStack() as stack:
        first, *others = await segment(network, count, stack)
        await first.send(frame(1))
        assert [await guest.receive() for guest in others] == [frame(1)] * (count - 1)
        await others[0].send(frame(2))
        assert await first.receive() == frame(2)


@pytest.mark.parametrize("size", [60, 61, 1514, 9014, 65549, LIMIT])
async def test_a_frame_arrives_as_it_was_sent(network: Network, size: int) -> None:
    with ExitStack() as stack:
        first, second = await segment(network, 2, stack)
        sending = asyncio.create_task(first.send(frame(1, size)))
        assert await second.receive() == frame(1, size)
        await sending


@pytest.mark.parametrize("size", [14, 17, 59])
async def test_a_runt_is_padded_to_60_bytes(network: Network, size: int) -> None:
    with ExitStack() as stack:
        first, second = await segment(network, 2, stack)
        await first.send(frame(1, size))
        assert await second.receive() == frame(1, size) + bytes(60 - size)


@pytest.mark.parametrize("size", [0, 1, 13])
async def test_what_has_no_ethernet_header_is_dropped_and_the_port_goes_on(
    network: Network, size: int
) -> None:
    with ExitStack() as stack:
        first, second = await segment(network, 2, stack)
        await first.send(frame(1, size))
        await first.send(frame(2))
        assert await second.receive() == frame(2)


async def test_frames_keep_their_order(network: Network) -> None:
    frames = [frame(number, 60 + 7 * number) for number in range(200)]
    with ExitStack() as stack:
        first, second = await segment(network, 2, stack)
        await first.write(b"".join(struct.pack("!I", len(data)) + data for data in frames))
        assert [await second.receive() for _ in frames] == frames


async def test_frames_that_come_byte_by_byte_arrive_whole(network: Network) -> None:
    data = b"".join(struct.pack("!I", len(data)) + data for data in (frame(1), frame(2, 61)))
    with ExitStack() as stack:
        first, second = await segment(network, 2, stack)
        for number in range(len(data)):
            await first.write(data[number : number + 1])
        assert [await second.receive(), await second.receive()] == [frame(1), frame(2, 61)]


async def test_a_peer_that_stops_in_the_middle_holds_nobody_up(network: Network) -> None:
    with ExitStack() as stack:
        first, second, third = await segment(network, 3, stack)
        await first.write(struct.pack("!I", 1000) + bytes(10))
        await second.send(frame(2))
        assert await third.receive() == frame(2)
        assert await first.receive() == frame(2)


async def test_a_peer_that_does_not_read_holds_nobody_up(network: Network) -> None:
    with ExitStack() as stack:
        first, second, _ = await segment(network, 3, stack)
        for number in range(2000):
            await first.send(frame(number % 256, 9000))
            assert len(await second.receive()) == 9000


@pytest.mark.parametrize(
    "message",
    [struct.pack("!I", LIMIT + 1), b"\xff\xff\xff\xff", struct.pack("!I", LIMIT + 1) + bytes(LIMIT + 1)],
    ids=["one over", "largest", "with its bytes"],
)
async def test_a_length_over_the_limit_ends_that_connection_alone(
    network: Network, tmp_path: Path, caplog: pytest.LogCaptureFixture, message: bytes
) -> None:
    caplog.set_level(logging.INFO, "wirebay")
    path = tmp_path / "sock"
    server = await network.add("stream", id="server", server=True, addr={"type": "unix", "path": path})
    with ExitStack() as stack:
        guests = []
        for number in range(2):
            guest, port = await Guest.on(network, f"vm{number}", number)
            guests.append((stack.enter_context(guest), port))
        await network.join(server, *(port for _, port in guests))
        bad = stack.enter_context(await dial(path))
        with suppress(BrokenPipeError, ConnectionResetError):  # hung up on before the last byte
            await bad.write(message)
        assert await bad.hung_up()
        (first, _), (second, _) = guests
        await first.send(frame(1))
        assert await second.receive() == frame(1)
        again = stack.enter_context(await dial(path))
        await again.send(frame(3))
        assert await first.receive() == frame(3)
    (sentence,) = [text for text in caplog.messages if str(LIMIT) in text.replace(",", "")]
    assert "stream port 'server'" in sentence


async def test_a_frame_cut_off_by_hanging_up_is_dropped(
    network: Network, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "wirebay")
    path = tmp_path / "sock"
    server = await network.add("stream", id="server", server=True, addr={"type": "unix", "path": path})
    guest, port = await Guest.on(network, "vm0")
    await network.join(server, port)
    with guest:
        with await dial(path) as bad:
            await bad.write(struct.pack("!I", 100) + frame(1, 50))
        with await dial(path) as good:
            await good.send(frame(2))
            assert await guest.receive() == frame(2)
    assert sum("stream port 'server': " in text for text in caplog.messages) == 1


async def test_a_port_that_left_hears_nothing_more(network: Network) -> None:
    with ExitStack() as stack:
        first, second, third = await segment(network, 3, stack)
        port = network.ports["vm2"]
        assert port.hub is not None
        await port.hub.leave(port)
        await first.send(frame(1))
        assert await second.receive() == frame(1)
        await network.stats()  # the worker is done with that frame
        with pytest.raises(BlockingIOError):
            third.sock.recv(1)


async def test_counters_tell_what_passed_and_what_was_dropped(network: Network) -> None:
    with ExitStack() as stack:
        first, second = await segment(network, 2, stack)
        await first.send(frame(1, 13))
        await first.send(frame(2, 100))
        await second.receive()
        ports = (await network.stats())["ports"]
        assert (ports["vm0"]["kind"], ports["vm0"]["rx_frames"], ports["vm0"]["rx_bytes"]) == (
            "stream",
            1,
            100,
        )
        assert (ports["vm1"]["tx_frames"], ports["vm1"]["tx_bytes"]) == (1, 100)
        assert sum(ports["vm0"]["drops"].values()) == 1
        assert ports["vm0"]["hub"] == ports["vm1"]["hub"]
