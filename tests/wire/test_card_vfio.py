"""The vfio-user server, asked message by message, rightly."""

from __future__ import annotations

import socket
import struct

import pytest

from tests.examples.simple_card import Cause, Ctrl
from tests.wire.card_bench import (
    CTRL,
    FRAME,
    IMR,
    ISR,
    ROM_IMAGE,
    RXADDR,
    RXLEN,
    RXSIZE,
    HastyCard,
    Pair,
    VectorCard,
    served,
    transmit,
    until,
    wait_for_interrupt,
)
from tests.wire.vfio_client import (
    CONFIG,
    DISABLE,
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
    SHARED,
    UNMASK,
    WRITE_MULTI,
    Refused,
    access,
)


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
