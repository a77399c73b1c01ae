"""The vfio-user server, asked message by message, rightly and wrongly."""

from __future__ import annotations

import errno
import os
import random
import select
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.examples.simple_card import Cause, Ctrl, SimpleCard
from tests.wire.vfio_client import (
    CONFIG,
    DISABLE,
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
    MSIX,
    NO_REPLY,
    REGION_READ,
    REGION_WRITE,
    REMOTE,
    RESET,
    ROM,
    SET_IRQS,
    SHARED,
    UNMASK,
    VERSION,
    WRITE_MULTI,
    Client,
    Hangup,
    Refused,
    access,
)
from wirebay._core import CardServer
from wirebay.cards.card import Card
from wirebay.cards.pci import Bar, Identity, msix
from wirebay.cards.server import make_server, serve_clients

MAC = bytes.fromhex("525400123456")
FRAME = bytes.fromhex("ffffffffffff") + MAC + b"\x88\xb5" + bytes(range(100))
ROM_IMAGE = b"\x55\xaa" + bytes(2046)
CTRL, ISR, IMR, TXADDR, TXLEN, RXADDR, RXSIZE, RXLEN = 0, 4, 8, 0x20, 0x24, 0x28, 0x2C, 0x30


class VectorCard(SimpleCard):
    """The same with two MSI-X vectors."""

    identity = Identity(
        vendor=0x1234,
        device=0x5144,
        bars=(Bar(4096), Bar(4096)),
        vectors=2,
        capabilities=(msix(2, 1, 0, 0x800), (0x09, b"\x05\0\0")),
    )

    def work(self, now: int) -> None:
        super().work(now)
        self.signal(1)


class BrokenCard(SimpleCard):
    """A model with a fault."""

    def work(self, now: int) -> None:
        raise ZeroDivisionError


class HastyCard(SimpleCard):
    """One that is told of waiting frames soon."""

    patience = 1000

    def overflow(self, now: int) -> None:
        self.ISR |= Cause.ERR


class Bench:
    """A card that is served, and the other end of its cable."""

    def __init__(self, kind: type[Card]) -> None:
        ours, self.cable = socket.socketpair()
        self.cable.settimeout(5)
        self.server, self.card = make_server(kind, MAC, ours, ROM_IMAGE)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind("")  # a name of the kernel's choice, in no folder
        self.listener.listen()
        arguments = (self.server, self.listener, kind.__name__)
        self.thread = threading.Thread(target=serve_clients, args=arguments, daemon=True)
        self.thread.start()

    def connect(self) -> Client:
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(5)
        sock.connect(self.listener.getsockname())
        return Client(sock)

    def close(self) -> None:
        self.server.stop()
        self.thread.join(5)
        assert not self.thread.is_alive()
        self.listener.close()
        self.cable.close()

    def sent(self) -> bytes:
        """The next frame that the card has sent."""
        (length,) = struct.unpack(">I", self.cable.recv(4, socket.MSG_WAITALL))
        return self.cable.recv(length, socket.MSG_WAITALL)

    def send(self, frame: bytes) -> None:
        self.cable.sendall(struct.pack(">I", len(frame)) + frame)


@contextmanager
def served(kind: type[Card] = SimpleCard) -> Iterator[tuple[Bench, Client]]:
    bench = Bench(kind)
    try:
        with bench.connect() as client:
            client.start()
            yield bench, client
    finally:
        bench.close()


@pytest.fixture
def pair() -> Iterator[tuple[Bench, Client]]:
    with served() as pair:
        yield pair


Pair = tuple[Bench, Client]


def until(client: Client, offset: int, wanted: int) -> int:
    """Read a register until one of the wanted bits is set."""
    for _ in range(10_000):
        if (value := client.read(0, offset, 4)) & wanted:
            return value
    raise AssertionError(f"register {offset:#x} never had {wanted:#x}")


def transmit(client: Client, address: int, length: int = len(FRAME)) -> None:
    client.write(0, TXADDR, 4, address)
    client.write(0, TXLEN, 4, length)


def wait_for_interrupt(client: Client) -> None:
    select.select([client.event], [], [], 5)
    assert client.interrupts() == 1


def test_the_device_its_regions_and_its_interrupts_are_told(pair: Pair) -> None:
    _, client = pair
    assert struct.unpack("=4I", client.ask(GET_INFO, struct.pack("=4I", 16, 0, 0, 0))) == (16, 3, 9, 5)
    sizes = {}
    for index in range(9):
        answer = client.ask(GET_REGION_INFO, struct.pack("=4IQQ", 32, 0, index, 0, 0, 0))
        _, flags, _, _, size, _ = struct.unpack("=4IQQ", answer)
        sizes[index] = (size, flags)
    assert {index: size for index, size in sizes.items() if size[0]} == {
        0: (4096, 3),
        ROM: (2048, 1),
        CONFIG: (256, 3),
    }
    counts = [client.ask(GET_IRQ_INFO, struct.pack("=4I", 16, 0, index, 0))[12] for index in range(5)]
    assert counts == [1, 0, 0, 1, 0]


def test_the_configuration_space_is_that_of_the_card(pair: Pair) -> None:
    _, client = pair
    assert client.read(CONFIG, 0, 4) == 0x51431234
    assert client.read(CONFIG, 0x3D, 1) == 1
    client.write(CONFIG, 0x30, 4, 0xFFFFF800)
    assert client.read(CONFIG, 0x30, 4) == 0xFFFFF800
    client.write(CONFIG, 0, 4, 0)
    assert client.read(CONFIG, 0, 4) == 0x51431234


def test_the_rom_can_be_read_and_not_written(pair: Pair) -> None:
    _, client = pair
    assert client.ask(REGION_READ, access(ROM, 0, 2048))[16:] == ROM_IMAGE
    with pytest.raises(Refused, match="EPERM"):
        client.write(ROM, 0, 1, 0)


@pytest.mark.parametrize("place", [SHARED, REMOTE], ids=["shared", "messages"])
def test_frames_go_from_and_to_memory_of_either_kind(pair: Pair, place: int) -> None:
    bench, client = pair
    memory: bytearray | object = client.shared if place == SHARED else client.remote
    memory[256 : 256 + len(FRAME)] = FRAME  # type: ignore[index]
    transmit(client, place + 256)
    until(client, ISR, Cause.TX)
    assert bench.sent() == FRAME
    client.write(0, RXADDR, 4, place + 4096)
    client.write(0, RXSIZE, 4, 2048)
    client.write(0, CTRL, 4, Ctrl.RXEN)
    bench.send(FRAME)
    until(client, ISR, Cause.RX)
    assert client.read(0, RXLEN, 4) == len(FRAME)
    assert memory[4096 : 4096 + len(FRAME)] == FRAME  # type: ignore[index]


def test_a_frame_across_both_kinds_of_memory_is_one(pair: Pair) -> None:
    bench, client = pair
    client.unmap(REMOTE, HALF)
    client.map(SHARED + HALF, HALF, 3)
    client.shared[HALF - 10 :] = FRAME[:10]
    client.unmap(SHARED + HALF, HALF)
    client.map(SHARED + HALF, REMOTE - SHARED + HALF, 3)
    # The client of these tests has the remote half at REMOTE; what lies below is refused by it.
    transmit(client, SHARED + HALF - 10)
    assert until(client, ISR, Cause.ERR | Cause.TX) == Cause.ERR
    client.unmap(SHARED + HALF, REMOTE - SHARED + HALF)
    client.map(REMOTE - HALF, HALF, 3, client.memfd)
    client.map(REMOTE, HALF, 3)
    client.write(0, ISR, 4, 0xFF)
    client.remote[: len(FRAME) - 10] = FRAME[10:]
    transmit(client, REMOTE - 10)
    until(client, ISR, Cause.TX)
    assert bench.sent() == FRAME


def test_registers_answer_while_the_card_waits_for_memory(pair: Pair) -> None:
    bench, client = pair
    client.remote[: len(FRAME)] = FRAME
    client.in_between = [(REGION_READ, access(0, 0x24, 4)), (REGION_READ, access(CONFIG, 0, 4))]
    transmit(client, REMOTE)
    until(client, ISR, Cause.TX)
    assert [int.from_bytes(answer[16:], "little") for answer in client.between] == [len(FRAME), 0x51431234]
    assert bench.sent() == FRAME


@pytest.mark.parametrize("command", [RESET, DMA_UNMAP])
def test_what_it_waits_for_may_vanish_meanwhile(pair: Pair, command: int) -> None:
    _, client = pair
    payload = b"" if command == RESET else struct.pack("=IIQQ", 24, 0, REMOTE, HALF)
    client.in_between = [(command, payload)]
    transmit(client, REMOTE)
    for _ in range(1000):
        if client.between:
            break
        client.read(0, ISR, 4)
    client.in_between = []
    assert client.between == [payload]
    # After a reset the frame is forgotten; without the range it has arrived before.
    expected = 0 if command == RESET else Cause.TX
    assert client.read(0, ISR, 4) == expected


def test_memory_is_reached_only_as_the_guest_allows(pair: Pair) -> None:
    bench, client = pair
    client.write(CONFIG, 4, 2, 0x0003)  # no bus master
    transmit(client, SHARED)
    assert until(client, ISR, 7) == Cause.ERR
    client.write(CONFIG, 4, 2, 0x0007)
    client.unmap(SHARED, HALF)
    client.map(SHARED, HALF, 1, client.memfd)
    client.write(0, ISR, 4, 7)
    client.write(0, RXADDR, 4, SHARED)
    client.write(0, RXSIZE, 4, 2048)
    client.write(0, CTRL, 4, Ctrl.RXEN)
    before = bytes(client.shared)
    bench.send(FRAME)
    assert until(client, ISR, 7) == Cause.ERR
    assert bytes(client.shared) == before
    client.unmap(0, 0, flags=2)
    client.write(0, ISR, 4, 7)
    transmit(client, SHARED)
    assert until(client, ISR, 7) == Cause.ERR


def test_the_client_may_refuse_an_access(pair: Pair) -> None:
    _, client = pair
    client.refuse_dma = True
    transmit(client, REMOTE)
    assert until(client, ISR, 7) == Cause.ERR


def test_the_pin_is_told_once_and_again_after_an_unmask(pair: Pair) -> None:
    _, client = pair
    client.write(0, IMR, 4, Cause.TX)
    transmit(client, SHARED)
    wait_for_interrupt(client)
    transmit(client, SHARED)
    client.read(0, ISR, 4)
    assert client.interrupts() == 0
    client.set_irqs(INTX, UNMASK, 0, 1)
    wait_for_interrupt(client)
    client.set_irqs(INTX, UNMASK, 0, 1)
    client.write(0, ISR, 4, 7)
    client.read(0, ISR, 4)
    assert client.interrupts() == 0, "the cause was cleared before it was told again"


def test_the_pin_is_told_again_though_the_guest_never_rests(pair: Pair) -> None:
    _, client = pair
    client.write(0, IMR, 4, Cause.TX)
    transmit(client, SHARED)
    wait_for_interrupt(client)
    client.set_irqs(INTX, UNMASK, 0, 1)
    for _ in range(100_000):
        if client.interrupts():
            return
        client.read(0, ISR, 4)
    raise AssertionError("it was never told again")


def test_the_pin_obeys_the_command_register_and_the_client(pair: Pair) -> None:
    _, client = pair
    client.write(CONFIG, 4, 2, 0x0407)
    client.write(0, IMR, 4, Cause.TX)
    transmit(client, SHARED)
    until(client, ISR, Cause.TX)
    assert client.interrupts() == 0
    client.write(CONFIG, 4, 2, 0x0007)
    wait_for_interrupt(client)
    client.set_irqs(INTX, DISABLE)
    client.set_irqs(INTX, ENABLE, 0, 1, [client.event])
    wait_for_interrupt(client)


def test_vectors_can_be_connected_one_by_one_and_taken_back() -> None:
    with served(VectorCard) as (_, client):
        assert client.read(CONFIG, 0x34, 1) == 0x40
        assert client.read(CONFIG, 0x40, 4) == 0x00014C11
        assert client.read(CONFIG, 0x4C, 1) == 0x09
        client.set_irqs(MSIX, ENABLE, 0, 1)
        client.set_irqs(MSIX, ENABLE, 1, 1, [client.event])
        transmit(client, SHARED)
        wait_for_interrupt(client)
        client.set_irqs(MSIX, ENABLE, 1, 1)
        transmit(client, SHARED)
        client.read(0, ISR, 4)
        assert client.interrupts() == 0
        with pytest.raises(Refused, match="EINVAL"):
            client.set_irqs(MSIX, ENABLE, 1, 2, [client.event, client.event])


def test_posted_and_gathered_writes_have_no_answer(pair: Pair) -> None:
    _, client = pair
    client.send(REGION_WRITE, access(0, IMR, 4) + struct.pack("<I", 5), flags=NO_REPLY)
    assert client.read(0, IMR, 4) == 5
    writes = [struct.pack("=QIIQ", offset, 0, 4, value) for offset, value in ((IMR, 3), (RXADDR, 0x1234))]
    client.send(WRITE_MULTI, struct.pack("=Q", 2) + b"".join(writes), flags=NO_REPLY)
    assert (client.read(0, IMR, 4), client.read(0, RXADDR, 4)) == (3, 0x1234)


def test_a_message_may_come_in_pieces(pair: Pair) -> None:
    _, client = pair
    message = HEADER.pack(77, REGION_READ, 32, 0, 0) + access(CONFIG, 0, 2)
    for byte in message:
        client.sock.sendall(bytes([byte]))
    assert client.receive()[:2] == (77, REGION_READ)


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


def test_frames_wait_for_a_buffer_and_are_dropped_without_a_client(pair: Pair) -> None:
    bench, client = pair
    client.write(0, CTRL, 4, Ctrl.RXEN)
    client.write(0, RXADDR, 4, SHARED)
    for number in range(50):
        bench.send(FRAME + bytes([number]))
    for number in range(50):
        client.write(0, RXSIZE, 4, 2048)
        until(client, ISR, Cause.RX)
        client.write(0, ISR, 4, 7)
        assert client.shared[len(FRAME)] == number
    client.sock.shutdown(socket.SHUT_RDWR)
    bench.send(FRAME)


def test_a_frame_that_waits_too_long_is_told_and_not_lost() -> None:
    with served(HastyCard) as (bench, client):
        client.write(0, CTRL, 4, Ctrl.RXEN)
        client.write(0, RXADDR, 4, SHARED)
        bench.send(FRAME)
        until(client, ISR, Cause.ERR)
        client.write(0, ISR, 4, 7)
        until(client, ISR, Cause.ERR)
        client.write(0, RXSIZE, 4, 2048)
        until(client, ISR, Cause.RX)
        assert client.shared[: len(FRAME)] == FRAME


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
