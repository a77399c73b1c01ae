"""Every kind of forward, from a socket of this host through the real worker to a guest."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.wire.guest import GATEWAY, Guest
from wirebay.network import Network
from wirebay.ports.user import UserPort

pytestmark = pytest.mark.anyio


@pytest.fixture
async def user(network: Network) -> UserPort:
    port = await network.add("user", id="u0")
    assert isinstance(port, UserPort)
    return port


@pytest.fixture
async def guest(network: Network, user: UserPort) -> AsyncIterator[Guest]:
    guest, port = await Guest.on(network, "vm0")
    await network.join(user, port)
    with guest:
        await guest.announce()
        yield guest


async def exchange(guest: Guest, client: socket.socket, port: int) -> str:
    """Say something through a connection of the host to the guest's port and back; who the guest sees."""
    loop = asyncio.get_running_loop()
    with client:
        client.setblocking(False)
        connection = await guest.accept(port)
        await loop.sock_sendall(client, b"question")
        assert await connection.receive(8) == b"question"
        await connection.send(b"answer")
        assert await asyncio.wait_for(loop.sock_recv(client, 100), 5) == b"answer"
    return connection.peer[0]


async def test_a_unix_socket_leads_to_the_guest(guest: Guest, user: UserPort, tmp_path: Path) -> None:
    path = tmp_path / "sock"
    await user.add_forward(f"unix:{path}-:22")
    client = socket.socket(socket.AF_UNIX)
    client.connect(str(path))
    assert await exchange(guest, client, 22) == GATEWAY


async def test_an_ipv6_address_leads_to_a_guest_that_has_ipv4(guest: Guest, user: UserPort) -> None:
    rule = await user.add_forward("tcp:[::1]:0-:22")
    client = socket.create_connection(("::1", rule.host_port))
    assert await exchange(guest, client, 22) == GATEWAY


async def test_an_interface_is_one_that_connections_come_in_by(guest: Guest, user: UserPort) -> None:
    rule = await user.add_forward("tcp:%lo:0-:22")
    client = socket.create_connection(("127.0.0.1", rule.host_port))
    assert await exchange(guest, client, 22) == GATEWAY


async def test_each_port_of_a_range_leads_to_its_own(guest: Guest, user: UserPort) -> None:
    first = two_free_ports()
    await user.add_forward(f"tcp:127.0.0.1:{first}..{first + 1}-:7000")
    for offset in (1, 0):
        client = socket.create_connection(("127.0.0.1", first + offset))
        await exchange(guest, client, 7000 + offset)


def two_free_ports() -> int:
    """The first of two neighbours that were free a moment ago."""
    while True:
        with socket.socket() as one, socket.socket() as two:
            one.bind(("127.0.0.1", 0))
            port: int = one.getsockname()[1]
            try:
                two.bind(("127.0.0.1", port + 1))
            except (OSError, OverflowError):
                continue
            return port


async def test_a_forward_that_was_removed_is_closed(user: UserPort, tmp_path: Path) -> None:
    path = tmp_path / "sock"
    await user.add_forward(f"unix:{path}-:22")
    await user.remove_forward(f"unix:{path}")
    with pytest.raises(FileNotFoundError):
        await asyncio.open_unix_connection(str(path))
