"""A server that takes many peers: each is a port of its own on the server's hub."""

from __future__ import annotations

import asyncio
import socket
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.unit.lab import until
from tests.wire.frames import frame
from tests.wire.guest import Guest
from wirebay.network import Network
from wirebay.ports import Port

pytestmark = pytest.mark.anyio


async def serve(network: Network, path: Path, limit: int) -> Port:
    return await network.add(
        "stream", id="vm", server=True, addr={"type": "unix", "path": path}, max_peers=limit
    )


async def dial(path: Path) -> Guest:
    peer = socket.socket(socket.AF_UNIX)
    peer.setblocking(False)
    await asyncio.get_running_loop().sock_connect(peer, str(path))
    return Guest(peer)


async def appeared(network: Network, *names: str) -> None:
    async with asyncio.timeout(5):
        await until(lambda: set(names) <= set(network.ports))


async def test_peers_hear_each_other_and_the_rest_of_the_hub(network: Network, tmp_path: Path) -> None:
    path = tmp_path / "sock"
    server = await serve(network, path, 8)
    assert server.describe().endswith("for up to 8 peers")
    near, port = await Guest.on(network, "near")
    with ExitStack() as stack:
        stack.enter_context(near)
        await network.join(server, port)
        peers = [stack.enter_context(await dial(path)) for _ in range(3)]
        await appeared(network, "vm/1", "vm/2", "vm/3")
        await joined(network, 5)
        await peers[0].send(frame(1))
        for guest in (near, *peers[1:]):
            assert await guest.receive() == frame(1)
        peers[1].sock.close()
        async with asyncio.timeout(5):
            await until(lambda: "vm/2" not in network.ports)
        peers[1] = stack.enter_context(await dial(path))
        await joined(network, 5)
        await near.send(frame(2))
        assert [await guest.receive() for guest in peers] == [frame(2)] * 3


async def joined(network: Network, count: int) -> None:
    """Wait until so many ports are on a hub and the worker knows."""
    async with asyncio.timeout(5):
        await until(lambda: sum(port.hub is not None for port in network.ports.values()) == count)
    await network.stats()


async def test_peers_beyond_the_limit_wait_their_turn(network: Network, tmp_path: Path) -> None:
    path = tmp_path / "sock"
    server = await serve(network, path, 2)
    near, port = await Guest.on(network, "near")
    await network.join(server, port)
    with near, await dial(path), await dial(path) as second, await dial(path) as third:
        await appeared(network, "vm/1", "vm/2")
        await third.send(frame(3))
        await network.stats()
        assert "vm/3" not in network.ports
        second.sock.close()
        assert await near.receive() == frame(3)


async def test_peers_follow_their_server(network: Network, tmp_path: Path) -> None:
    path = tmp_path / "sock"
    server = await serve(network, path, 2)
    near, port = await Guest.on(network, "near")
    with near, await dial(path) as peer:
        await appeared(network, "vm/1")
        hub = await network.join(server, port)
        await peer.send(frame(1))
        assert await near.receive() == frame(1)
        await hub.leave(server)
        assert network.ports["vm/1"].hub is None
        await server.close()
        assert await peer.hung_up()
        assert set(network.ports) == {"near"}


async def test_a_peers_port_that_is_removed_makes_room_for_another(network: Network, tmp_path: Path) -> None:
    path = tmp_path / "sock"
    await serve(network, path, 2)
    with await dial(path) as first, await dial(path), await dial(path):
        await appeared(network, "vm/1", "vm/2")
        await network.ports["vm/1"].close()
        assert await first.hung_up()
        await appeared(network, "vm/1")


async def test_events_name_the_peers_port(network: Network, tmp_path: Path) -> None:
    path = tmp_path / "sock"
    events: list[tuple[str, object]] = []
    network.watch(lambda name, data: events.append((name, data["netdev-id"])))
    await serve(network, path, 2)
    with await dial(path):
        async with asyncio.timeout(5):
            await until(lambda: len(events) == 1)
    async with asyncio.timeout(5):
        await until(lambda: len(events) == 2)
    assert events == [("NETDEV_STREAM_CONNECTED", "vm/1"), ("NETDEV_STREAM_DISCONNECTED", "vm/1")]


async def test_the_end_of_the_network_ends_all_peers(tmp_path: Path) -> None:
    path = tmp_path / "sock"
    async with Network() as network:
        await serve(network, path, 3)
        peers = [await dial(path) for _ in range(3)]
        await appeared(network, "vm/1", "vm/2", "vm/3")
    for peer in peers:
        with peer:
            assert await peer.hung_up()
    assert not path.exists()


@pytest.mark.parametrize("tight", [True, False])
async def test_an_abstract_name_is_listened_on_and_connected_to(network: Network, tight: bool) -> None:
    addr = {"type": "unix", "path": f"wirebay-{id(network)}", "abstract": True, "tight": tight}
    server = await network.add("stream", id="a", server=True, addr=addr)
    client = await network.add("stream", id="b", addr=addr)
    first, one = await Guest.on(network, "one")
    second, two = await Guest.on(network, "two")
    with first, second:
        await network.join(server, one)
        await network.join(client, two)
        await asyncio.wait_for(client.connected, 5)  # type: ignore[attr-defined]
        await first.send(frame(1))
        assert await second.receive() == frame(1)


async def test_peers_are_in_the_vlan_of_their_server_and_isolated_as_it_is(
    network: Network, tmp_path: Path
) -> None:
    path = tmp_path / "sock"
    server = await serve(network, path, 2)
    switch = await network.switch("lan")
    await switch.join(server, vlan=10, isolated=True)
    same, port = await Guest.on(network, "same", 1)
    await switch.join(port, vlan=10)
    other, port = await Guest.on(network, "other", 2)
    await switch.join(port, vlan=20)
    with same, other, await dial(path) as first, await dial(path) as second:
        await joined(network, 5)
        await first.send(frame(1))
        assert await same.receive() == frame(1)
        await same.send(frame(2))
        assert [await first.receive(), await second.receive()] == [frame(2)] * 2
        await network.stats()
        with pytest.raises(BlockingIOError):
            other.sock.recv(1)
