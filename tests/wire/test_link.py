"""A link that goes down and up again under the flows of a user network."""

from __future__ import annotations

import asyncio

import pytest

from tests.wire.guest import Guest
from wirebay.network import Network
from wirebay.ports.user import UserPort

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("side", ["u0", "vm0"])
async def test_a_connection_outlives_a_link_that_was_down(network: Network, side: str) -> None:
    user = await network.add("user", id="u0", hostfwd=["tcp:127.0.0.1:0-:80"])
    assert isinstance(user, UserPort)
    guest, port = await Guest.on(network, "vm0")
    await network.join(user, port)
    with guest:
        await guest.announce()
        connecting = asyncio.open_connection("127.0.0.1", user.forwards[0].host_port)
        connection, (reader, writer) = await asyncio.gather(guest.accept(80), connecting)
        writer.write(b"before")
        assert await connection.receive(6) == b"before"
        link = network.ports[side]
        await link.set_link(False)
        writer.write(b"while it was down")
        async with asyncio.timeout(10):
            while not (await network.stats())["ports"][side]["drops"].get("link_down"):
                pass
        await link.set_link(True)
        assert await connection.receive(17) == b"while it was down"
        await connection.send(b"after")
        assert await reader.readexactly(5) == b"after"
        assert (await network.stats())["ports"]["u0"]["flows"]["tcp"] == 1
        writer.close()
