"""Guests that flood a crowded switch of the real worker, and those who share it with them."""

from __future__ import annotations

import asyncio
import struct
from contextlib import ExitStack

import pytest

from tests.wire.guest import Guest
from tests.wire.test_switch import Lab, frame, mac
from wirebay.network import Network

pytestmark = pytest.mark.anyio

GUESTS, FLOODING, TALKING = 40, 10, 10
NOBODY = 99


async def flood(guest: Guest, number: int) -> None:
    """Broadcasts without end, as fast as the port takes them."""
    packed = struct.pack("!I", 60) + frame(number, number=number)
    while True:
        await guest.write(packed * 2000)
        await asyncio.sleep(0)


async def drain(guest: Guest) -> None:
    """Take whatever comes."""
    while await asyncio.get_running_loop().sock_recv(guest.sock, 1 << 20):
        pass


async def ask_around(guests: list[Guest]) -> None:
    """Each guest sends a frame to the next one, which has to find it among everything else."""
    for at, guest in enumerate(guests):
        after = (at + 1) % len(guests)
        wanted = frame(FLOODING + at, mac(FLOODING + after), number=at)
        await guest.send(wanted)
        while await guests[after].receive() != wanted:
            pass


async def told(caplog: pytest.LogCaptureFixture) -> None:
    while caplog.text.count("floods: it sends more to everybody") < FLOODING:  # noqa: ASYNC110 - a log has no event
        await asyncio.sleep(0)


async def test_guests_that_flood_a_crowded_switch_are_held_and_the_others_go_on(
    network: Network, caplog: pytest.LogCaptureFixture
) -> None:
    with ExitStack() as stack:
        lab = Lab(network, await network.switch("lan"), stack)
        guests = [(await lab.plug(f"vm{number}", number))[0] for number in range(GUESTS)]
        for number, guest in enumerate(guests):
            await guest.send(frame(number, mac(NOBODY)))
        await lab.settle()
        tasks = [asyncio.create_task(flood(guest, at)) for at, guest in enumerate(guests[:FLOODING])]
        tasks += [asyncio.create_task(drain(guest)) for guest in guests[FLOODING + TALKING :]]
        async with asyncio.timeout(30):
            await told(caplog)
            await ask_around(guests[FLOODING : FLOODING + TALKING])
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        ports = (await network.stats())["ports"]
        limited = {name for name, port in ports.items() if "storm_limited" in port["drops"]}
        assert limited == {f"vm{number}" for number in range(FLOODING)}
