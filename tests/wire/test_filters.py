"""Filters between a port and its segment, with the real worker."""

from __future__ import annotations

import asyncio
import shutil
import socket
import struct
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.wire.guest import Guest
from tests.wire.packets import BROADCAST, ethernet
from wirebay.errors import HostError
from wirebay.filters.dump import DumpFilter
from wirebay.filters.ends import EndsFilter
from wirebay.network import Network

pytestmark = pytest.mark.anyio

EXPERIMENT = 0x88B5


def frame(source: int, number: int = 0, size: int = 60) -> bytes:
    start = ethernet(BROADCAST, bytes((2, 0, 0, 0, 0, source)), EXPERIMENT, struct.pack("!I", number))
    return start.ljust(size, b"\0")


async def two(network: Network, stack: ExitStack) -> tuple[Guest, Guest]:
    """Two guests, vm1 and vm2, on a hub."""
    pairs = [await Guest.on(network, f"vm{number}", number) for number in (1, 2)]
    await network.join(*(port for _, port in pairs))
    first, second = (stack.enter_context(guest) for guest, _ in pairs)
    return first, second


async def exchange(first: Guest, second: Guest) -> None:
    """A frame each way."""
    await first.send(frame(1))
    assert await second.receive() == frame(1)
    await second.send(frame(2, size=70))
    assert await first.receive() == frame(2, size=70)


def tshark(file: Path, *fields: str) -> list[list[str]]:
    """The packets of a capture, as Wireshark reads them."""
    if shutil.which("tshark") is None:
        pytest.skip("tshark is needed")
    words = ["tshark", "-r", str(file), "-T", "fields"]
    for field in fields:
        words += ["-e", field]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return [line.split("\t") for line in done.stdout.splitlines()]


@pytest.mark.parametrize("form", ["pcap", "pcapng"])
async def test_a_capture_holds_both_directions_with_their_times(
    network: Network, tmp_path: Path, form: str
) -> None:
    file = tmp_path / "x"
    with ExitStack() as stack:
        first, second = await two(network, stack)
        before = time.time()
        dump = await network.add_object("filter-dump", id="f0", netdev="vm1", file=file, format=form)
        await exchange(first, second)
        assert (await dump.stats())["frames"] == 2
        await dump.close()
    rows = tshark(file, "frame.time_epoch", "frame.len", "eth.src")
    assert [row[1:] for row in rows] == [["60", "02:00:00:00:00:01"], ["70", "02:00:00:00:00:02"]]
    assert all(before - 1 < float(row[0]) < time.time() + 1 for row in rows)


async def test_pcapng_tells_directions_and_why_a_frame_was_dropped(network: Network, tmp_path: Path) -> None:
    file = tmp_path / "x.pcapng"
    with ExitStack() as stack:
        first, second = await two(network, stack)
        dump = await network.add_object("filter-dump", id="f0", netdev="vm1", file=file, format="pcapng")
        await exchange(first, second)
        port = network.ports["vm1"]
        await port.set_link(False)
        await first.send(frame(1, 1))
        await network.stats()
        await port.set_link(True)
        assert port.hub is not None
        await port.hub.leave(port)
        await first.send(frame(1, 2))
        await network.stats()
        await dump.close()
    rows = tshark(file, "frame.packet_flags_direction", "frame.comment")
    directions = [int(row[0], 0) for row in rows]
    assert directions == [2, 1, 2, 2]
    assert [row[1] for row in rows] == ["", "", "dropped: link_down", "dropped: no_hub"]


@pytest.mark.parametrize(("queue", "source"), [("rx", 2), ("tx", 1)])
async def test_a_queue_is_one_direction_seen_from_the_netdev(
    network: Network, tmp_path: Path, queue: str, source: int
) -> None:
    file = tmp_path / "x.pcap"
    with ExitStack() as stack:
        first, second = await two(network, stack)
        dump = await network.add_object("filter-dump", id="f0", netdev="vm1", file=file, queue=queue)
        await exchange(first, second)
        await dump.close()
    assert tshark(file, "eth.src") == [[f"02:00:00:00:00:0{source}"]]


async def test_frames_are_cut_at_maxlen_and_files_at_their_size(network: Network, tmp_path: Path) -> None:
    file = tmp_path / "x.pcap"
    with ExitStack() as stack:
        first, second = await two(network, stack)
        dump = await network.add_object(
            "filter-dump", id="f0", netdev="vm1", file=file, maxlen=1000, max_size="8k", files=3
        )
        for number in range(40):
            await first.send(frame(1, number, 1500))
            await second.receive()
        await dump.close()
    names = [file, tmp_path / "x.pcap.1", tmp_path / "x.pcap.2"]
    assert not (tmp_path / "x.pcap.3").exists()
    assert all(24 < name.stat().st_size <= 8192 for name in names)
    rows = [
        row for name in reversed(names) for row in tshark(name, "frame.len", "frame.cap_len", "data.data")
    ]
    assert {(row[0], row[1]) for row in rows} == {("1500", "1000")}
    numbers = [int(row[2][:8], 16) for row in rows]
    assert numbers == list(range(40 - len(numbers), 40))


async def test_a_reader_that_does_not_read_stalls_nobody(network: Network, tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    with ExitStack() as stack, ours, theirs:
        first, second = await two(network, stack)
        path = tmp_path / "pipe"
        path.symlink_to(f"/proc/self/fd/{theirs.fileno()}")
        with pytest.raises(HostError, match="Could not open"):  # a socket cannot be opened again
            await network.add_object("filter-dump", id="f0", netdev="vm1", file=path)
        chardev = await network.add_chardev(f"socket,id=c0,fd={theirs.detach()}")
        assert chardev.address.startswith("fd:")
        mirror = await network.add_object("filter-mirror", id="m0", netdev="vm1", outdev="c0")
        assert isinstance(mirror, EndsFilter)
        await mirror.connected["out"]
        for number in range(2000):
            await first.send(frame(1, number, 9000))
            assert len(await second.receive()) == 9000
        stats = await mirror.stats()
        assert stats["drops"]["queue_full"] > 500
        assert stats["frames"] + stats["drops"]["queue_full"] == 2000


async def test_a_full_disk_ends_the_capture_with_a_sentence_and_nothing_else(network: Network) -> None:
    with ExitStack() as stack:
        first, second = await two(network, stack)
        dump = await network.add_object("filter-dump", id="f0", netdev="vm1", file="/dev/full")
        assert isinstance(dump, DumpFilter)
        async with asyncio.timeout(5):
            while not dump.failed.done():
                await exchange(first, second)
        assert "writes no more to '/dev/full': No space left on device" in dump.failed.result()


async def peer(path: Path) -> Guest:
    sock = socket.socket(socket.AF_UNIX)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, str(path))
    return Guest(sock)


async def test_a_mirror_copies_and_a_new_peer_takes_the_place_of_one_that_left(
    network: Network, tmp_path: Path
) -> None:
    path = tmp_path / "m"
    with ExitStack() as stack:
        first, second = await two(network, stack)
        await network.add_chardev(f"socket,id=c0,path={path},server=on,wait=off")
        mirror = await network.add_object("filter-mirror", id="m0", netdev="vm1", outdev="c0", queue="tx")
        assert isinstance(mirror, EndsFilter)
        await exchange(first, second)
        with await peer(path) as copy:
            await mirror.connected["out"]
            await exchange(first, second)
            assert await copy.receive() == frame(1)
        seen = 1
        with await peer(path) as copy:
            async with asyncio.timeout(5):
                while (await mirror.stats())["frames"] == seen:
                    await exchange(first, second)
            assert await copy.receive() == frame(1)


async def test_a_redirector_diverts_and_brings_in(network: Network, tmp_path: Path) -> None:
    paths = {"in": tmp_path / "in", "out": tmp_path / "out"}
    with ExitStack() as stack:
        first, second = await two(network, stack)
        for end, path in paths.items():
            await network.add_chardev(f"socket,id={end},path={path},server=on,wait=off")
        redirector = await network.add_object(
            "filter-redirector", id="r0", netdev="vm1", indev="in", outdev="out", queue="tx"
        )
        assert isinstance(redirector, EndsFilter)
        await exchange(first, second)
        inlet, outlet = [stack.enter_context(await peer(paths[end])) for end in ("in", "out")]
        await asyncio.gather(*redirector.connected.values())
        await first.send(frame(1, 7))
        assert await outlet.receive() == frame(1, 7)
        await inlet.send(frame(9, 8))
        assert await second.receive() == frame(9, 8), "the diverted one did not come"
        await redirector.set_status(False)
        await exchange(first, second)


async def test_a_redirector_carries_headers_when_asked(network: Network, tmp_path: Path) -> None:
    path = tmp_path / "out"
    with ExitStack() as stack:
        first, _ = await two(network, stack)
        await network.add_chardev(f"socket,id=c0,path={path},server=on")
        redirector = await network.add_object(
            "filter-redirector", id="r0", netdev="vm1", outdev="c0", vnet_hdr_support=True
        )
        assert isinstance(redirector, EndsFilter)
        with await peer(path) as outlet:
            await redirector.connected["out"]
            await first.send(frame(1))
            data = await asyncio.wait_for(outlet._take(8 + 12 + 60), 5)
        assert data == struct.pack("!II", 72, 12) + bytes(12) + frame(1)


async def test_a_buffer_holds_frames_back_and_lets_them_go_in_order(network: Network) -> None:
    with ExitStack() as stack:
        first, second = await two(network, stack)
        interval = 200_000
        await network.add_object("filter-buffer", id="b0", netdev="vm1", interval=interval, queue="tx")
        start = time.monotonic()
        for number in range(3):
            await first.send(frame(1, number))
        assert [await second.receive() for _ in range(3)] == [frame(1, number) for number in range(3)]
        held = time.monotonic() - start
        await network.objects.filters["b0"].close()
        await network.add_object("filter-buffer", id="b1", netdev="vm1", interval=(1 << 32) - 1)
        await first.send(frame(1, 9))
        await network.stats()
        await network.objects.filters["b1"].set_status(False)
        assert await second.receive() == frame(1, 9)
        assert held < 5


async def test_filters_act_in_their_order_from_the_port_outwards(network: Network, tmp_path: Path) -> None:
    files = {name: tmp_path / name for name in ("head", "tail")}
    with ExitStack() as stack:
        first, second = await two(network, stack)
        await network.add_object("filter-dump", id="d1", netdev="vm1", file=files["tail"])
        await network.add_object(
            "filter-buffer", id="b0", netdev="vm1", interval=(1 << 32) - 1, position="head"
        )
        await network.add_object(
            "filter-dump", id="d2", netdev="vm1", file=files["head"], position="id=b0", insert="before"
        )
        chain = network.objects.chain(network.ports["vm1"])
        assert [one.id for one in chain] == ["d2", "b0", "d1"]
        await first.send(frame(1))
        await second.send(frame(2))
        await network.stats()
        counts = {name: (await network.objects.filters[name].stats())["frames"] for name in ("d1", "d2")}
        assert counts == {"d2": 1, "d1": 1}
        await network.ports["vm1"].close()
        assert network.objects.filters == {}
    assert tshark(files["head"], "eth.src") == [["02:00:00:00:00:01"]]
    # What the buffer held has passed when it was closed.
    assert tshark(files["tail"], "eth.src") == [["02:00:00:00:00:02"], ["02:00:00:00:00:01"]]
