"""vhost-user beyond one pair of rings: several queues, errors, resumption, resets, MTU, memory in pieces."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from tests.wire.guest import Guest
from tests.wire.packets import BROADCAST, IPV4, ethernet, udp
from tests.wire.split_ring import LENGTH, SIZE, readable
from tests.wire.vmm import (
    ADD_MEM_REG,
    EVENT_IDX,
    GET_MAX_MEM_SLOTS,
    GET_QUEUE_NUM,
    GET_VRING_BASE,
    MTU,
    NET_SET_MTU,
    PLAIN,
    REM_MEM_REG,
    RESET_DEVICE,
    SET_VRING_ENABLE,
    SET_VRING_NUM,
    Vmm,
    dial,
)
from wirebay.network import Network
from wirebay.ports import Port

pytestmark = pytest.mark.anyio

MAC = bytes.fromhex("525400123401")
PEER = bytes.fromhex("525400123402")
PAIRS = 4


def plain(payload: bytes) -> bytes:
    return ethernet(BROADCAST, MAC, 0x88B5, payload)


def to_guest(port: int) -> bytes:
    return ethernet(MAC, PEER, IPV4, udp(("10.0.2.2", 53), ("10.0.2.15", port), b"x" * 40))


async def drops(network: Network, port: Port) -> dict[str, int]:
    counted: dict[str, int] = (await network.stats())["ports"][port.id]["drops"]
    return counted


async def pair(
    network: Network, folder: Path, features: int = PLAIN, *, pairs: int = 1
) -> tuple[Vmm, Guest, Port]:
    """A guest behind vhost-user and one behind a stream, on one hub."""
    vmm, port = await Vmm.on(network, "vm0", str(folder / "vm0.sock"), features, pairs=pairs)
    guest, other = await Guest.on(network, "g1", 2)
    await network.join(port, other)
    return vmm, guest, port


async def test_flows_are_spread_over_the_receive_rings_and_each_stays_on_one(
    network: Network, tmp_path: Path
) -> None:
    vmm, guest, port = await pair(network, tmp_path, pairs=PAIRS)
    with vmm, guest:
        for number in range(PAIRS):
            vmm.offer(ring=2 * number)
        sent = [to_guest(4000 + flow) for _ in range(3) for flow in range(20)]
        for frame in sent:
            await guest.send(frame)
        while (await network.stats())["ports"][port.id]["tx_frames"] < len(sent):
            pass
        places: dict[bytes, set[int]] = {}
        for number in range(PAIRS):
            while vmm.rings[2 * number].has_returned():
                _, frame = await vmm.receive(2 * number)
                places.setdefault(frame, set()).add(number)
        assert len(places) == 20
        assert all(len(rings) == 1 for rings in places.values())
        assert set().union(*places.values()) == set(range(PAIRS))


async def test_a_ring_that_the_guest_does_not_use_gets_nothing(network: Network, tmp_path: Path) -> None:
    vmm, guest, port = await pair(network, tmp_path, pairs=PAIRS)
    assert struct.unpack("=Q", await vmm.ask(GET_QUEUE_NUM))[0] >= PAIRS
    with vmm, guest:
        for ring in range(2, 2 * PAIRS):
            await vmm.request(SET_VRING_ENABLE, struct.pack("=II", ring, 0))
        vmm.offer()
        for flow in range(20):
            await guest.send(to_guest(4000 + flow))
            assert (await vmm.receive())[1] == to_guest(4000 + flow)
        assert await drops(network, port) == {}


async def test_a_guest_sends_by_every_ring(network: Network, tmp_path: Path) -> None:
    vmm, guest, _ = await pair(network, tmp_path, pairs=PAIRS)
    with vmm, guest:
        for number in range(PAIRS):
            await vmm.transmit(plain(bytes([number]) * 60), number=2 * number + 1)
            assert await guest.receive() == plain(bytes([number]) * 60)


@pytest.mark.parametrize("ring", [0, 1])
async def test_a_ring_that_contradicts_itself_stops_and_the_vmm_is_told(
    network: Network, tmp_path: Path, ring: int
) -> None:
    vmm, guest, _ = await pair(network, tmp_path)
    with vmm, guest:
        broken = vmm.rings[ring]
        struct.pack_into("<H", vmm.memory, broken.available + 2, 3 * SIZE)
        os.eventfd_write(broken.kick, 1)
        await guest.send(to_guest(4000))
        await readable(broken.error)
        await vmm.ask(GET_VRING_BASE, struct.pack("=II", ring, 0))
        struct.pack_into("<H", vmm.memory, broken.available + 2, 0)
        struct.pack_into("<H", vmm.memory, broken.used + 2, 0)
        await vmm.set_up(ring)
        vmm.offer()
        await guest.send(to_guest(4001))
        assert (await vmm.receive())[1] == to_guest(4001)
        await vmm.transmit(plain(b"again" * 20))
        assert await guest.receive() == plain(b"again" * 20)


async def test_a_chain_that_starts_beyond_the_table_stops_its_ring(network: Network, tmp_path: Path) -> None:
    vmm, guest, _ = await pair(network, tmp_path)
    with vmm, guest:
        vmm.rings[1].add(SIZE)
        await readable(vmm.rings[1].error)


@pytest.mark.parametrize("features", [PLAIN, PLAIN | EVENT_IDX])
async def test_a_guest_whose_vmm_connects_again_goes_on_with_its_rings(
    network: Network, tmp_path: Path, features: int
) -> None:
    vmm, guest, port = await pair(network, tmp_path, features)
    with vmm, guest:
        vmm.offer()
        for round_ in range(3):
            for flow in range(5):
                await guest.send(to_guest(4000 + flow))
                assert (await vmm.receive())[1] == to_guest(4000 + flow)
            await vmm.transmit(plain(bytes([round_]) * 60))
            assert await guest.receive() == plain(bytes([round_]) * 60)
            await vmm.resume(await dial(str(tmp_path / "vm0.sock")))
        assert (await drops(network, port)).get("queue_full") is None


async def test_a_reset_device_forgets_its_rings_and_can_be_started_again(
    network: Network, tmp_path: Path
) -> None:
    vmm, guest, port = await pair(network, tmp_path)
    with vmm, guest:
        vmm.offer()
        await vmm.request(RESET_DEVICE)
        await guest.send(to_guest(4000))
        while not (await drops(network, port)).get("link_down"):
            pass
        await vmm.start()
        await guest.send(to_guest(4001))
        assert (await vmm.receive())[1] == to_guest(4001)


async def test_frames_over_the_mtu_of_the_vmm_are_dropped(network: Network, tmp_path: Path) -> None:
    vmm, guest, port = await pair(network, tmp_path, PLAIN | MTU)
    with vmm, guest:
        await vmm.request(NET_SET_MTU, struct.pack("=Q", 1000))
        vmm.offer()
        await guest.send(ethernet(MAC, PEER, 0x88B5, bytes(1005)))
        longest = ethernet(MAC, PEER, 0x88B5, bytes(1000))
        await guest.send(longest)
        assert (await vmm.receive())[1] == longest
        assert (await drops(network, port))["frame_too_long"] == 1


@pytest.mark.parametrize("mtu", [0, 67, 65536, 2**64 - 1])
async def test_an_mtu_that_cannot_be_is_refused(network: Network, tmp_path: Path, mtu: int) -> None:
    vmm, guest, _ = await pair(network, tmp_path, PLAIN | MTU)
    with vmm, guest:
        assert await vmm.ask(NET_SET_MTU, struct.pack("=Q", mtu), flags=1 | 8) != bytes(8)


async def test_memory_may_be_told_piece_by_piece(network: Network, tmp_path: Path) -> None:
    port = await network.add("vhost-user", id="vm0", path=str(tmp_path / "vm0.sock"))
    guest, other = await Guest.on(network, "g1", 2)
    await network.join(port, other)
    with guest, Vmm(await dial(str(tmp_path / "vm0.sock")), PLAIN) as vmm:
        await vmm.negotiate()
        assert struct.unpack("=Q", await vmm.ask(GET_MAX_MEM_SLOTS))[0] >= 8
        # The transmit ring lies across the border of two regions.
        middle = (LENGTH + LENGTH // 2) // 4096 * 4096
        pieces = [(0, middle), (middle, vmm.size - middle)]
        for piece in pieces:
            await vmm.request(ADD_MEM_REG, vmm.region(*piece), [vmm.memfd])
        for index in range(2):
            await vmm.set_up(index)
        vmm.offer()
        await vmm.transmit(plain(b"pieces" * 20))
        assert await guest.receive() == plain(b"pieces" * 20)
        await guest.send(to_guest(4000))
        assert (await vmm.receive())[1] == to_guest(4000)
        # Memory comes and goes beside rings that work.
        await vmm.request(ADD_MEM_REG, struct.pack("=QQQQQ", 0, 1 << 40, 4096, 1 << 41, 0), [vmm.memfd])
        await vmm.request(REM_MEM_REG, struct.pack("=QQQQQ", 0, 1 << 40, 4096, 1 << 41, 0))
        await vmm.transmit(plain(b"go on" * 20))
        assert await guest.receive() == plain(b"go on" * 20)
        await vmm.request(REM_MEM_REG, vmm.region(*pieces[0]))
        await guest.send(to_guest(4001))
        while not (await drops(network, port)).get("link_down"):
            pass


async def test_a_size_or_a_region_that_cannot_be_is_refused(network: Network, tmp_path: Path) -> None:
    vmm, guest, _ = await pair(network, tmp_path)
    with vmm, guest:
        for size in (0, 3, 65536, 2**32 - 1):
            refused = await vmm.ask(SET_VRING_NUM, struct.pack("=II", 0, size), flags=1 | 8)
            assert refused != bytes(8)
        overlapping = vmm.region(0, 4096)
        assert await vmm.ask(ADD_MEM_REG, overlapping, [vmm.memfd], flags=1 | 8) != bytes(8)
        beyond = struct.pack("=QQQQQ", 0, 1 << 40, 1 << 30, 1 << 41, 0)
        assert await vmm.ask(ADD_MEM_REG, beyond, [vmm.memfd], flags=1 | 8) != bytes(8)
