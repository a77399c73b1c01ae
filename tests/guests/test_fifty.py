"""Fifty guests on one segment: each gets a lease, keeps it, and talks to the host at the same time."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from ipaddress import IPv4Address

import pytest

from tests.wire.guest import GATEWAY, Guest
from tests.wire.packets import dhcp, parse_dhcp, parse_udp
from wirebay.network import Network

pytestmark = pytest.mark.anyio
GUESTS = 50
CLIENT, SERVER = ("0.0.0.0", 68), ("255.255.255.255", 67)


@pytest.fixture
async def guests(anyio_backend: str) -> AsyncIterator[list[Guest]]:
    async with Network() as network:
        with contextlib.ExitStack() as stack:
            user = await network.add("user", id="u0", ipv6=False)
            made = [await Guest.on(network, f"vm{number}", number) for number in range(1, GUESTS + 1)]
            await network.join(user, *(port for _, port in made))
            yield [stack.enter_context(guest) for guest, _ in made]


async def answer(guest: Guest) -> tuple[str, dict[int, bytes]]:
    """The DHCP server's next word to this guest: the others' are heard, too."""
    while True:
        _, data = await guest.datagram(68)
        if data[28:34] == guest.mac:
            return parse_dhcp(data)


async def lease(guest: Guest) -> str:
    """The address it gets, which it has from then on."""
    await guest.send_udp(CLIENT, SERVER, dhcp(guest.mac, {53: b"\x01"}))
    address, offer = await answer(guest)
    wanted = {53: b"\x03", 50: IPv4Address(address).packed, 54: offer[54]}
    await guest.send_udp(CLIENT, SERVER, dhcp(guest.mac, wanted))
    guest.address, told = await answer(guest)
    assert (guest.address, told[53]) == (address, b"\x05")
    return address


async def test_each_of_them_gets_a_lease_and_the_same_again(guests: list[Guest]) -> None:
    addresses = await asyncio.gather(*map(lease, guests))
    assert len(set(addresses)) == GUESTS
    assert await asyncio.gather(*map(lease, guests)) == addresses


async def test_all_of_them_talk_to_the_host_at_once(guests: list[Guest]) -> None:
    await asyncio.gather(*map(lease, guests))
    loop = asyncio.get_running_loop()
    with socket.socket(type=socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.setblocking(False)
        port = server.getsockname()[1]

        async def ask(guest: Guest) -> bytes:
            await guest.announce()
            await guest.send_udp((guest.address, 4000), (GATEWAY, port), guest.mac)
            # A hub repeats to everybody what is for one.
            return parse_udp(await guest.packet(lambda packet: packet.destination == guest.address))[2]

        def serve() -> None:
            data, peer = server.recvfrom(100)
            server.sendto(data, peer)

        loop.add_reader(server, serve)
        answers = await asyncio.gather(*map(ask, guests))
        loop.remove_reader(server)
    assert answers == [guest.mac for guest in guests]
