"""Frames through the switch of the real worker."""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import ExitStack

import pytest

from tests.wire.guest import Guest
from tests.wire.packets import BROADCAST, ethernet
from wirebay.errors import OptionError
from wirebay.network import Network
from wirebay.ports import Port
from wirebay.segments import Switch

pytestmark = pytest.mark.anyio

# A protocol number for experiments (IEEE 802): nobody answers to it.
EXPERIMENT = 0x88B5


def mac(number: int) -> bytes:
    return bytes((2, 0, 0, 0, 0, number))


def frame(source: int, destination: bytes = BROADCAST, number: int = 0) -> bytes:
    return ethernet(destination, mac(source), EXPERIMENT, struct.pack("!I", number).ljust(46, b"\0"))


def tagged(plain: bytes, vlan: int) -> bytes:
    return plain[:12] + struct.pack("!HH", 0x8100, vlan) + plain[12:]


def silent(guest: Guest) -> bool:
    """Nothing has arrived that was not taken."""
    try:
        return not guest.sock.recv(1)
    except BlockingIOError:
        return True


class Lab:
    """A switch with guests on ports of their own."""

    def __init__(self, network: Network, switch: Switch, stack: ExitStack) -> None:
        self.network, self.switch, self.stack = network, switch, stack

    async def plug(self, name: str, number: int, **options: object) -> tuple[Guest, Port]:
        guest, port = await Guest.on(self.network, name, number)
        await self.switch.join(port, **options)  # type: ignore[arg-type]
        return self.stack.enter_context(guest), port

    async def settle(self) -> None:
        """The worker is done with everything that was sent before."""
        await self.network.stats()


async def test_a_switch_learns_and_sends_to_one_port_only(network: Network) -> None:
    with ExitStack() as stack:
        lab = Lab(network, await network.switch("lan"), stack)
        (first, _), (second, _), (third, _) = [await lab.plug(f"vm{n}", n) for n in (1, 2, 3)]
        await first.send(frame(1))
        assert [await second.receive(), await third.receive()] == [frame(1)] * 2
        await second.send(frame(2, mac(1)))
        assert await first.receive() == frame(2, mac(1))
        await first.send(frame(1, mac(2), number=1))
        assert await second.receive() == frame(1, mac(2), number=1)
        await lab.settle()
        assert silent(third)
        stats = await lab.switch.stats()
        assert {(a["mac"], a["port"]) for a in stats["addresses"]} == {
            ("02:00:00:00:00:01", "vm1"),
            ("02:00:00:00:00:02", "vm2"),
        }


async def test_vlans_are_kept_apart_and_tagged_where_they_share_a_port(network: Network) -> None:
    with ExitStack() as stack:
        lab = Lab(network, await network.switch("lan"), stack)
        ten, _ = await lab.plug("ten", 1, vlan=10)
        twenty, _ = await lab.plug("twenty", 2, vlan=20)
        trunk, _ = await lab.plug("trunk", 3, trunk=[(10, 20)])
        plain, _ = await lab.plug("plain", 4)
        await ten.send(frame(1))
        assert await trunk.receive() == await plain.receive() == tagged(frame(1), 10)
        await trunk.send(tagged(frame(3), 20))
        assert await twenty.receive() == frame(3)
        assert await plain.receive() == tagged(frame(3), 20)
        await plain.send(frame(4))
        await twenty.send(tagged(frame(2), 10))
        await lab.settle()
        assert all(map(silent, (ten, twenty, trunk)))
        drops = (await network.stats())["ports"]["twenty"]["drops"]
        assert drops == {"vlan_not_allowed": 1}


async def test_isolated_ports_reach_only_the_others(network: Network) -> None:
    with ExitStack() as stack:
        lab = Lab(network, await network.switch("lan"), stack)
        one, _ = await lab.plug("one", 1, isolated=True)
        two, _ = await lab.plug("two", 2, isolated=True)
        uplink, _ = await lab.plug("uplink", 3)
        await one.send(frame(1))
        assert await uplink.receive() == frame(1)
        await uplink.send(frame(3))
        assert await one.receive() == await two.receive() == frame(3)
        await lab.settle()
        assert silent(two)


async def test_a_flood_of_addresses_costs_others_nothing(network: Network) -> None:
    with ExitStack() as stack:
        lab = Lab(network, await network.switch("lan"), stack)
        (first, _), (second, _), (flooding, _) = [await lab.plug(f"vm{n}", n) for n in (1, 2, 3)]
        await first.send(frame(1))
        await asyncio.gather(second.receive(), flooding.receive())
        for number in range(3000):
            source = b"\x02\x99" + struct.pack("!I", number)
            await flooding.send(mac(9) + source + frame(3)[12:])
            assert (await second.receive())[6:12] == source
            await first.receive()
        await second.send(frame(2, mac(1)))
        assert await first.receive() == frame(2, mac(1))
        await lab.settle()
        assert silent(flooding)
        assert (await lab.switch.stats())["evicted"] == 3000 - 1024


async def test_ports_joined_outside_are_found_out_and_one_is_blocked(
    network: Network, caplog: pytest.LogCaptureFixture
) -> None:
    with ExitStack() as stack:
        lab = Lab(network, await network.switch("lan"), stack)
        guest, _ = await lab.plug("vm", 1)
        ends = socket.socketpair()
        for name, end in zip(("left", "right"), ends, strict=True):
            addr = {"type": "fd", "str": str(end.detach())}
            await lab.switch.join(await network.add("stream", id=name, addr=addr))
        for number in range(100):
            await guest.send(frame(1, number=number))
        await lab.settle()
        async with asyncio.timeout(5):
            while "is part of a loop" not in caplog.text:  # noqa: ASYNC110 - the log has no event
                await asyncio.sleep(0)
        (sentence,) = [text for text in caplog.messages if "loop" in text]
        assert sentence.endswith("it is blocked for 10 s")
        ports = (await network.stats())["ports"]
        assert sum(ports[name]["rx_frames"] for name in ("left", "right")) < 300  # a storm has no end
        assert silent(guest)


async def test_a_name_is_a_hub_or_a_switch(network: Network) -> None:
    switch = await network.switch("lan")
    assert await network.switch("lan") is switch
    with pytest.raises(OptionError, match=r"^'lan' is a switch, not a hub$"):
        await network.hub("lan")
    port = await network.add("user", id="u0")
    with pytest.raises(OptionError, match="a VLAN is a number from 1 to 4094"):
        await switch.join(port, vlan=4095)
    assert port.hub is None
    await switch.join(port)


async def test_a_link_that_is_down_swallows_both_ways_and_comes_back(network: Network) -> None:
    with ExitStack() as stack:
        lab = Lab(network, await network.switch("lan"), stack)
        (first, port), (second, _) = [await lab.plug(f"vm{n}", n) for n in (1, 2)]
        await port.set_link(False)
        await first.send(frame(1))
        await second.send(frame(2))
        await lab.settle()
        assert silent(first)
        assert silent(second)
        stats = (await network.stats())["ports"]["vm1"]
        assert (stats["link"], stats["drops"]) == (False, {"link_down": 2})
        await port.set_link(True)
        await first.send(frame(1, number=1))
        assert await second.receive() == frame(1, number=1)
