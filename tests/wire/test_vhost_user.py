"""vhost-user: frames through a guest's own memory, and VMMs and guests that do what they must not."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from tests.wire.guest import Guest
from tests.wire.packets import BROADCAST, IPV4, ethernet, ipv4, udp
from tests.wire.split_ring import NEXT, SIZE, WRITE
from tests.wire.vmm import GET_VRING_BASE, GUEST_BASE, PLAIN, SET_VRING_KICK, Vmm, dial
from wirebay.network import Network
from wirebay.ports import Port

pytestmark = pytest.mark.anyio

MAC = bytes.fromhex("525400123401")
PEER = bytes.fromhex("525400123402")
PAYLOAD = bytes(range(256)) * 4


def plain(payload: bytes = PAYLOAD) -> bytes:
    return ethernet(BROADCAST, MAC, 0x88B5, payload)


async def drops(network: Network, port: Port) -> dict[str, int]:
    counted: dict[str, int] = (await network.stats())["ports"][port.id]["drops"]
    return counted


async def pair(network: Network, folder: Path, features: int = PLAIN) -> tuple[Vmm, Guest, Port]:
    """A guest behind vhost-user and one behind a stream, on one hub."""
    vmm, port = await Vmm.on(network, "vm0", str(folder / "vm0.sock"), features)
    guest, other = await Guest.on(network, "g1", 2)
    await network.join(port, other)
    return vmm, guest, port


async def test_frames_pass_both_ways(network: Network, tmp_path: Path) -> None:
    vmm, guest, _ = await pair(network, tmp_path)
    with vmm, guest:
        await vmm.transmit(plain())
        assert await guest.receive() == plain()
        vmm.offer()
        for length in (100, 1500):
            sent = ethernet(MAC, PEER, 0x88B5, bytes(length))
            await guest.send(sent)
            header, frame = await vmm.receive()
            assert (frame, header[:10]) == (sent, bytes(10))


async def test_a_frame_larger_than_a_buffer_is_spread_over_several(network: Network, tmp_path: Path) -> None:
    vmm, guest, _ = await pair(network, tmp_path)
    with vmm, guest:
        vmm.offer(length=256)
        sent = ethernet(MAC, PEER, 0x88B5, PAYLOAD)
        await guest.send(sent)
        header, frame = await vmm.receive()
        assert frame == sent
        assert struct.unpack_from("<H", header, 10) == (5,)


async def test_a_guest_without_room_loses_its_own_frames_and_gets_the_next(
    network: Network, tmp_path: Path
) -> None:
    vmm, guest, port = await pair(network, tmp_path)
    with vmm, guest:
        await guest.send(ethernet(MAC, PEER, 0x88B5, b"lost" * 20))
        while not (await drops(network, port)).get("queue_full"):
            pass
        vmm.offer()
        sent = ethernet(MAC, PEER, 0x88B5, b"kept" * 20)
        await guest.send(sent)
        assert (await vmm.receive())[1] == sent


async def test_a_checksum_left_undone_is_finished_for_a_port_that_cannot(
    network: Network, tmp_path: Path
) -> None:
    vmm, guest, _ = await pair(network, tmp_path)
    with vmm, guest:
        finished = ethernet(BROADCAST, MAC, IPV4, udp(("10.0.2.15", 5), ("10.0.2.16", 6), b"hello"))
        pseudo = sum(struct.unpack("!HHHHHH", finished[26:34] + struct.pack("!HH", 17, 13)))
        partial = struct.pack("!H", (pseudo & 0xFFFF) + (pseudo >> 16))
        unfinished = finished[:40] + partial + finished[42:]
        await vmm.transmit(unfinished, struct.pack("<BBHHHHH", 1, 0, 0, 0, 34, 6, 0))
        assert (await guest.receive())[:47] == finished


async def test_it_can_be_stopped_and_goes_on_where_it_was(network: Network, tmp_path: Path) -> None:
    vmm, guest, _ = await pair(network, tmp_path)
    with vmm, guest:
        await vmm.transmit(plain(b"one" * 20))
        index, base = struct.unpack("=II", await vmm.ask(GET_VRING_BASE, struct.pack("=II", 1, 0)))
        assert (index, base) == (1, 1)
        await vmm.set_up(1, base)
        await vmm.transmit(plain(b"two" * 20))
        assert [await guest.receive(), await guest.receive()] == [plain(b"one" * 20), plain(b"two" * 20)]


async def test_the_next_vmm_is_served_when_one_has_gone(network: Network, tmp_path: Path) -> None:
    vmm, guest, _ = await pair(network, tmp_path)
    with guest:
        with vmm:
            await vmm.transmit(plain())
            await guest.receive()
        again = Vmm(await dial(str(tmp_path / "vm0.sock")), PLAIN)
        with again:
            await again.start()
            await again.transmit(plain(b"again" * 20))
            assert await guest.receive() == plain(b"again" * 20)


async def test_descriptors_outside_of_the_memory_cost_only_their_frame(
    network: Network, tmp_path: Path
) -> None:
    vmm, guest, port = await pair(network, tmp_path)
    with vmm, guest:
        ring = vmm.rings[1]
        for address, length, flags in (
            (0, 100, 0),
            (GUEST_BASE - 50, 100, 0),
            (2**64 - 10, 100, 0),
            (GUEST_BASE, 2**32 - 1, 0),
            (GUEST_BASE + ring.buffers, 100, WRITE),
        ):
            ring.describe(0, address, length, flags)
            ring.add(0)
            await ring.returned()
        counted = await drops(network, port)
        assert (counted["ring_invalid"], counted["frame_too_long"]) == (4, 1)
        await vmm.transmit(plain())
        assert await guest.receive() == plain()


async def test_a_chain_that_leads_back_into_itself_ends(network: Network, tmp_path: Path) -> None:
    vmm, guest, _ = await pair(network, tmp_path)
    with vmm, guest:
        ring = vmm.rings[1]
        ring.describe(0, GUEST_BASE + ring.buffers, 64, NEXT, 0)
        ring.add(0)
        await ring.returned()
        assert len(await guest.receive()) == SIZE * 64 - 12


async def test_a_ring_that_says_it_is_fuller_than_it_is_stops_nothing_else(
    network: Network, tmp_path: Path
) -> None:
    vmm, guest, _ = await pair(network, tmp_path)
    other, third = await Guest.on(network, "g2", 3)
    await network.hubs["#1"].join(third)
    with vmm, guest, other:
        ring = vmm.rings[1]
        struct.pack_into("<H", vmm.memory, ring.available + 2, 3 * SIZE)
        await vmm.request(SET_VRING_KICK, struct.pack("=Q", 1), [ring.kick])
        await other.send(plain())
        assert await guest.receive() == plain()


@pytest.mark.parametrize(
    "data",
    [
        struct.pack("=III", 1, 1, 1 << 20),
        struct.pack("=III", 1, 2, 0),
        struct.pack("=IIIII", 9, 1, 8, 0, 0),
        struct.pack("=III", 99, 1, 0),
        struct.pack("=IIIQ", 12, 1, 8, 1),
        struct.pack("=IIIII", 8, 1, 8, 200, 64),
    ],
    ids=["too long", "other version", "cut", "unknown", "no descriptor", "no such ring"],
)
async def test_a_vmm_that_asks_for_nonsense_is_hung_up_on_and_the_next_one_served(
    network: Network, tmp_path: Path, data: bytes
) -> None:
    path = str(tmp_path / "vm0.sock")
    vmm, _ = await Vmm.on(network, "vm0", path)
    with vmm:
        vmm.send(data)
        assert await vmm.hung_up()
    again = Vmm(await dial(path), PLAIN)
    with again:
        await again.start()


async def test_a_vmm_that_stops_in_the_middle_of_a_message_holds_up_nobody(
    network: Network, tmp_path: Path
) -> None:
    vmm, guest, _ = await pair(network, tmp_path)
    other, third = await Guest.on(network, "g2", 3)
    await network.hubs["#1"].join(third)
    with vmm, guest, other:
        vmm.send(b"\x01\x00")
        await other.send(plain())
        assert await guest.receive() == plain()


async def test_a_guest_talks_with_the_user_network(network: Network, tmp_path: Path) -> None:
    vmm, port = await Vmm.on(network, "vm0", str(tmp_path / "vm0.sock"))
    await network.join(port, await network.add("user", id="u0", ipv6=False))
    with vmm:
        vmm.offer()
        message = bytes.fromhex("0800f7fe00010000")
        gateway = bytes.fromhex("52550a000202")
        await vmm.transmit(ethernet(gateway, MAC, IPV4, ipv4(1, "10.0.2.15", "10.0.2.2", message)))
        _, frame = await vmm.receive()
        assert (frame[:6], frame[34]) == (MAC, 0)
