"""The vfio-user server, asked wrongly: an error, or the end of the connection, and the next is served."""

from __future__ import annotations

import errno
import os
import random
import socket
import struct
from pathlib import Path

import pytest

from tests.examples.simple_card import Ctrl, SimpleCard
from tests.wire.card_bench import (
    CTRL,
    FRAME,
    IMR,
    ISR,
    MAC,
    TXADDR,
    TXLEN,
    BrokenCard,
    Pair,
    served,
    transmit,
)
from tests.wire.vfio_client import (
    CONFIG,
    DMA_MAP,
    DMA_READ,
    DMA_UNMAP,
    ENABLE,
    GET_INFO,
    GET_IRQ_INFO,
    GET_REGION_INFO,
    HALF,
    HEADER,
    INTX,
    REGION_READ,
    REGION_WRITE,
    REMOTE,
    ROM,
    SET_IRQS,
    SHARED,
    VERSION,
    WRITE_MULTI,
    Hangup,
    Refused,
    access,
)
from wirebay._core import CardServer
from wirebay.cards.server import make_server

BAD = {
    "an unknown command": (999, b"", errno.EOPNOTSUPP),
    "no payload": (REGION_READ, b"", errno.EINVAL),
    "a BAR that is not there": (REGION_READ, access(3, 0, 4), errno.EINVAL),
    "a region that is not there": (REGION_READ, access(400, 0, 4), errno.EINVAL),
    "beyond the BAR": (REGION_READ, access(0, 4093, 4), errno.EINVAL),
    "far beyond the BAR": (REGION_READ, access(0, (1 << 64) - 2, 4), errno.EINVAL),
    "an odd size": (REGION_READ, access(0, 0, 3), errno.EINVAL),
    "a huge size": (REGION_READ, access(ROM, 0, 0xFFFFFFFF), errno.EINVAL),
    "beyond the configuration": (REGION_READ, access(CONFIG, 255, 2), errno.EINVAL),
    "data too short": (REGION_WRITE, access(0, 0, 4) + b"12", errno.EINVAL),
    "data too long": (REGION_WRITE, access(0, 0, 4) + b"12345", errno.EINVAL),
    "more writes than said": (WRITE_MULTI, struct.pack("=Q", 1 << 60), errno.EINVAL),
    "a write over its room": (WRITE_MULTI, struct.pack("=QQIIQ", 1, 0, 0, 9, 0), errno.EINVAL),
    "a range over another": (DMA_MAP, struct.pack("=IIQQQ", 32, 3, 0, SHARED + 4096, 4096), errno.EEXIST),
    "a range beyond the end": (DMA_MAP, struct.pack("=IIQQQ", 32, 3, 0, (1 << 64) - 1, 4096), errno.EINVAL),
    "an empty range": (DMA_MAP, struct.pack("=IIQQQ", 32, 3, 0, 0, 0), errno.EINVAL),
    "an unknown range": (DMA_UNMAP, struct.pack("=IIQQ", 24, 0, 0, 4096), errno.ENOENT),
    "a range too short": (DMA_UNMAP, struct.pack("=IIQ", 24, 0, 0), errno.EINVAL),
    "region 9": (GET_REGION_INFO, struct.pack("=4IQQ", 32, 0, 9, 0, 0, 0), errno.EINVAL),
    "interrupt 5": (GET_IRQ_INFO, struct.pack("=4I", 16, 0, 5, 0), errno.EINVAL),
    "too many interrupts": (SET_IRQS, struct.pack("=5I", 20, ENABLE, INTX, 0, 2), errno.EINVAL),
    "interrupts beyond the end": (SET_IRQS, struct.pack("=5I", 20, ENABLE, INTX, 2**32 - 1, 1), errno.EINVAL),
    "nonsense for interrupts": (SET_IRQS, struct.pack("=5I", 20, 0xFFFF, INTX, 0, 1), errno.EINVAL),
    "another version": (VERSION, struct.pack("=HH", 1, 0), errno.EINVAL),
    "a DMA of the client's": (DMA_READ, struct.pack("=QQ", 0, 4), errno.EOPNOTSUPP),
}


@pytest.mark.parametrize("name", BAD)
def test_a_wrong_request_is_answered_by_an_error_and_the_next_is_served(pair: Pair, name: str) -> None:
    _, client = pair
    command, payload, number = BAD[name]
    with pytest.raises(Refused) as refused:
        client.ask(command, payload)
    assert refused.value.number == number
    assert client.read(CONFIG, 0, 2) == 0x1234


def test_descriptors_that_nobody_asked_for_are_closed(pair: Pair) -> None:
    _, client = pair
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(20):
        client.ask(GET_INFO, struct.pack("=4I", 16, 0, 0, 0), [client.event] * 10)
    with pytest.raises(Refused, match="EINVAL"):
        client.ask(DMA_MAP, struct.pack("=IIQQQ", 32, 3, 0, 0, 4096), [client.memfd] * 2)
    with pytest.raises(Refused, match="EINVAL"):
        client.map(0, HALF * 2, 3, client.memfd)
    read_end, write_end = os.pipe()
    with pytest.raises(Refused):
        client.map(0, 4096, 3, write_end)
    os.close(read_end)
    os.close(write_end)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


WRONG = {
    "too short": HEADER.pack(1, GET_INFO, 15, 0, 0),
    "far too long": HEADER.pack(1, GET_INFO, 0xFFFFFFFF, 0, 0),
    "neither request nor reply": HEADER.pack(1, GET_INFO, 16, 7, 0),
    "an answer to nothing": HEADER.pack(1, DMA_READ, 16, 1, 0),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_message_ends_the_connection_and_the_next_client_is_served(pair: Pair, name: str) -> None:
    bench, client = pair
    client.sock.sendall(WRONG[name])
    assert client.hung_up()
    with bench.connect() as following:
        following.start()
        assert following.read(CONFIG, 0, 2) == 0x1234


def test_a_client_that_dies_leaves_nothing_to_the_next(pair: Pair) -> None:
    bench, client = pair
    client.write(0, CTRL, 4, Ctrl.RXEN)
    client.write(0, IMR, 4, 7)
    client.sock.sendall(b"\0\0\0")
    client.sock.shutdown(socket.SHUT_RDWR)
    with bench.connect() as following:
        with pytest.raises(Refused, match="ENOENT"):
            following.unmap(SHARED, HALF)
        assert following.read(0, IMR, 4) == 0
        assert following.read(CONFIG, 4, 2) == 0
        following.start()
        following.shared[: len(FRAME)] = FRAME
        transmit(following, SHARED)
        assert bench.sent() == FRAME


def test_a_client_that_dies_while_the_card_waits_for_memory_is_forgotten(pair: Pair) -> None:
    bench, client = pair
    client.write(0, TXADDR, 4, REMOTE)
    client.send(REGION_WRITE, access(0, TXLEN, 4) + struct.pack("<I", 100))
    while client.receive()[1] != DMA_READ:
        pass
    client.sock.shutdown(socket.SHUT_RDWR)
    with bench.connect() as following:
        following.start()
        assert following.read(0, ISR, 4) == 0


def test_a_model_that_fails_costs_the_connection_only(caplog: pytest.LogCaptureFixture) -> None:
    with served(BrokenCard) as (bench, client):
        client.write(0, TXADDR, 4, SHARED)
        client.send(REGION_WRITE, access(0, TXLEN, 4) + struct.pack("<I", 100))
        assert client.hung_up()
        with bench.connect() as following:
            following.start()
            assert following.read(CONFIG, 0, 2) == 0x1234
    assert "ZeroDivisionError" in caplog.text


def test_random_messages_never_harm_the_server(pair: Pair) -> None:
    bench, client = pair
    rng = random.Random(6)
    for _ in range(3000):
        command = rng.choice([*range(1, 20), REGION_WRITE, REGION_READ, SET_IRQS, DMA_MAP])
        words = [rng.choice([0, 1, 2, 7, 8, 16, 32, 0x24, 0xFFFFFFFF, rng.getrandbits(32)]) for _ in range(9)]
        payload = struct.pack("=9I", *words)[: rng.choice([0, 4, 16, 20, 24, 32, 36])]
        try:
            client.ask(command, payload, [client.memfd] * rng.choice([0, 0, 1, 3]))
        except Refused:
            pass
        except Hangup:
            client.close()
            client = bench.connect()
    client.close()
    with bench.connect() as following:
        following.start()
        assert following.read(CONFIG, 0, 2) == 0x1234


def test_a_server_takes_one_model_and_a_rom_of_the_right_size() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        server, card = make_server(SimpleCard, MAC, ours)
        with pytest.raises(RuntimeError, match="already"):
            server.insert(card)
        with pytest.raises(OSError, match="not permitted"):
            server.read(0, 4)
        with pytest.raises(ValueError, match="power of two"):
            CardServer(0, config=bytes(256), writable=bytes(256), bars=(0,) * 6, rom=b"123")
