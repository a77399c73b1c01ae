"""QEMU at the other end of dgram, socket and stream ports, in every mode that both have."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from tests.oracles.exchange import both_ways, frame, free_udp_ports, heard, join
from tests.oracles.rig import rig
from tests.wire.guest import Guest
from wirebay.network import Network
from wirebay.ports.stream import StreamPort

pytestmark = pytest.mark.anyio


def inet(port: int, host: str = "127.0.0.1") -> dict[str, object]:
    return {"type": "inet", "host": host, "port": port}


def spelled(name: str, port: int, host: str = "127.0.0.1") -> str:
    return f"{name}.type=inet,{name}.host={host},{name}.port={port}"


async def test_dgram_over_udp(network: Network, card: Guest, tmp_path: Path) -> None:
    ours, theirs = free_udp_ports(2)
    port = await network.add("dgram", id="n", local=inet(ours), remote=inet(theirs))
    await join(network, port)
    netdev = f"dgram,id=b,{spelled('local', theirs)},{spelled('remote', ours)}"
    async with rig(netdev, tmp_path) as far:
        await both_ways(card, far, (60, 1514, 9014, 65507))


async def test_dgram_over_unix_sockets_outlives_its_peer(
    network: Network, card: Guest, tmp_path: Path
) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    port = await network.add(
        "dgram", id="n", local={"type": "unix", "path": ours}, remote={"type": "unix", "path": theirs}
    )
    await join(network, port)
    netdev = f"dgram,id=b,local.type=unix,local.path={theirs},remote.type=unix,remote.path={ours}"
    await card.send(frame(1))  # nobody is there yet
    for _ in range(2):
        async with rig(netdev, tmp_path) as far:
            await both_ways(card, far, (60, 1514, 65536))


async def test_dgram_over_an_inherited_socket(network: Network, card: Guest, tmp_path: Path) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    port = await network.add("dgram", id="n", local={"type": "fd", "str": ours.detach()})
    await join(network, port)
    netdev = f"dgram,id=b,local.type=fd,local.str={theirs.fileno()}"
    with theirs:
        async with rig(netdev, tmp_path, fds=[theirs.fileno()]) as far:
            await both_ways(card, far)


GROUP = "230.77.5.1"


async def test_dgram_in_a_multicast_group(network: Network, card: Guest, tmp_path: Path) -> None:
    (number,) = free_udp_ports(1)
    group, local = inet(number, GROUP), inet(0)
    port = await network.add("dgram", id="n", local=local, remote=group)
    await join(network, port)
    netdev = f"dgram,id=b,{spelled('local', number)},{spelled('remote', number, GROUP)}"
    async with rig(netdev, tmp_path) as far:
        await in_a_group(network, card, far)


async def in_a_group(network: Network, card: Guest, far: Guest) -> None:
    """QEMU hears its own frames again, and its card sees them; we know ours and drop them."""
    await card.send(frame(1))
    await heard(far, frame(1))
    await far.send(frame(2))
    await heard(card, frame(2))
    await heard(far, frame(2))
    drops = (await network.stats())["ports"]["n"]["drops"]
    assert drops["own_frame"] == 1


async def test_socket_mcast(network: Network, card: Guest, tmp_path: Path) -> None:
    (number,) = free_udp_ports(1)
    port = await network.add("socket", id="n", mcast=f"{GROUP}:{number}", localaddr="127.0.0.1")
    await join(network, port)
    async with rig(f"socket,id=b,mcast={GROUP}:{number},localaddr=127.0.0.1", tmp_path) as far:
        await in_a_group(network, card, far)


async def test_socket_udp(network: Network, card: Guest, tmp_path: Path) -> None:
    ours, theirs = free_udp_ports(2)
    port = await network.add("socket", id="n", udp=f"127.0.0.1:{theirs}", localaddr=f"127.0.0.1:{ours}")
    await join(network, port)
    async with rig(f"socket,id=b,udp=127.0.0.1:{ours},localaddr=127.0.0.1:{theirs}", tmp_path) as far:
        await both_ways(card, far)


async def test_socket_listen_is_connected_to(network: Network, card: Guest, tmp_path: Path) -> None:
    port = await network.add("socket", id="n", listen="127.0.0.1:0")
    await join(network, port)
    address = port.describe().rpartition("tcp:")[2]
    for _ in range(2):
        async with rig(f"socket,id=b,connect={address}", tmp_path) as far:
            await both_ways(card, far)


async def test_socket_connect_finds_a_listener(network: Network, card: Guest, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        number = free.getsockname()[1]
    async with rig(f"socket,id=b,listen=127.0.0.1:{number}", tmp_path) as far:
        port = await network.add("socket", id="n", connect=f"127.0.0.1:{number}")
        await join(network, port)
        assert isinstance(port, StreamPort)
        await asyncio.wait_for(port.connected, 5)
        await both_ways(card, far)


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM], ids=["stream", "datagram"])
async def test_socket_fd_of_either_kind(
    network: Network, card: Guest, tmp_path: Path, kind: socket.SocketKind
) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, kind)
    port = await network.add("socket", id="n", fd=ours.detach())
    await join(network, port)
    with theirs:
        async with rig(f"socket,id=b,fd={theirs.fileno()}", tmp_path, fds=[theirs.fileno()]) as far:
            await both_ways(card, far)
