"""QEMU at the other end of stream ports, of hubs, and of a vfkit port."""

from __future__ import annotations

import asyncio
import socket
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.oracles.exchange import both_ways, frame, heard, join
from tests.oracles.rig import rig
from tests.unit.lab import until
from tests.wire.guest import Guest
from wirebay.network import Network
from wirebay.ports.stream import StreamPort

pytestmark = pytest.mark.anyio

SIZES = (60, 1514, 65549)


async def served(network: Network, **options: object) -> StreamPort:
    port = await network.add("stream", id="n", server=True, **options)
    assert isinstance(port, StreamPort)
    return port


async def test_qemu_connects_to_a_unix_server_again_and_again(
    network: Network, card: Guest, tmp_path: Path
) -> None:
    path = tmp_path / "n.sock"
    await join(network, await served(network, addr={"type": "unix", "path": path}))
    for _ in range(2):
        async with rig(f"stream,id=b,server=off,addr.type=unix,addr.path={path}", tmp_path) as far:
            await ready(network)
            await both_ways(card, far, SIZES)


async def ready(network: Network) -> None:
    """QEMU's connection is taken in the background; wait for it."""
    port = network.ports["n"]
    assert isinstance(port, StreamPort)
    async with asyncio.timeout(5):
        await until(lambda: ":" in port.state)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_qemu_connects_to_an_inet_server(
    network: Network, card: Guest, tmp_path: Path, host: str
) -> None:
    port = await served(network, addr={"type": "inet", "host": host, "port": 0})
    await join(network, port)
    number = port.address.rpartition(":")[2]
    netdev = f"stream,id=b,server=off,addr.type=inet,addr.host={host},addr.port={number}"
    async with rig(netdev, tmp_path) as far:
        await ready(network)
        await both_ways(card, far, SIZES)


async def test_a_client_finds_qemus_server_again(network: Network, card: Guest, tmp_path: Path) -> None:
    name, started = tmp_path / "q.sock", tmp_path / "started.sock"
    port = await network.add("stream", id="n", addr={"type": "unix", "path": name}, reconnect_ms=20)
    assert isinstance(port, StreamPort)
    await join(network, port)
    for _ in range(2):
        async with rig(f"stream,id=b,server=on,addr.type=unix,addr.path={started}", tmp_path) as far:
            await until(started.exists)
            started.rename(name)  # QEMU 7.2 may crash when a peer comes before it has started
            await ready(network)
            await both_ways(card, far, SIZES)
        async with asyncio.timeout(5):
            await until(lambda: ":" not in port.state)


async def test_a_client_finds_qemu_at_an_abstract_name(network: Network, card: Guest, tmp_path: Path) -> None:
    name = f"{tmp_path}/abstract"
    async with rig(
        f"stream,id=b,server=on,addr.type=unix,addr.path={name},addr.abstract=on", tmp_path
    ) as far:
        addr = {"type": "unix", "path": name, "abstract": True}
        port = await network.add("stream", id="n", addr=addr, reconnect_ms=20)  # QEMU listens late
        await join(network, port)
        await ready(network)
        await both_ways(card, far, SIZES)


async def test_an_inherited_socket(network: Network, card: Guest, tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    port = await network.add("stream", id="n", addr={"type": "fd", "str": ours.detach()})
    await join(network, port)
    with theirs:
        number = theirs.fileno()
        async with rig(
            f"stream,id=b,server=off,addr.type=fd,addr.str={number}", tmp_path, fds=[number]
        ) as far:
            await both_ways(card, far, SIZES)


async def test_three_qemus_on_one_server_hear_each_other(
    network: Network, card: Guest, tmp_path: Path
) -> None:
    path = tmp_path / "n.sock"
    await join(network, await served(network, addr={"type": "unix", "path": path}, max_peers=3))
    async with AsyncExitStack() as stack:
        fars = []
        for number in range(3):
            directory = tmp_path / str(number)
            directory.mkdir()
            netdev = f"stream,id=b,server=off,addr.type=unix,addr.path={path}"
            fars.append(await stack.enter_async_context(rig(netdev, directory)))
        async with asyncio.timeout(5):
            await until(lambda: sum(port.hub is not None for port in network.ports.values()) == 5)
        await fars[0].send(frame(1))
        for guest in (card, *fars[1:]):
            await heard(guest, frame(1))


async def test_qemu_and_we_have_the_same_hubs(network: Network, card: Guest, tmp_path: Path) -> None:
    """A hub of ours with a hub of QEMU's on it: a frame comes to all others once, and not back."""
    path = tmp_path / "n.sock"
    await served(network, addr={"type": "unix", "path": path})
    for number, name in enumerate(("n", "near")):
        await network.add("hubport", id=f"h{number}", hubid=7, netdev=name)
    async with rig(f"stream,id=b,server=off,addr.type=unix,addr.path={path}", tmp_path) as far:
        await ready(network)
        await both_ways(card, far)
        await card.send(frame(1))
        await card.send(frame(2))
        await heard(far, frame(1))
        await heard(far, frame(2))


async def test_a_vfkit_port_and_qemus_datagrams(network: Network, card: Guest, tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    await join(network, await network.add("vfkit", id="n", path=ours))
    netdev = f"dgram,id=b,local.type=unix,local.path={theirs},remote.type=unix,remote.path={ours}"
    async with rig(netdev, tmp_path) as far:
        await far.send(frame(1))  # so that we know where it is
        await heard(card, frame(1))
        await both_ways(card, far)
