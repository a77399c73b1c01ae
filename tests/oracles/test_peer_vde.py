"""Debian's vde_switch, and QEMU's VDE client on a switch of ours."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.oracles.exchange import both_ways, frame, heard, join
from tests.oracles.rig import rig
from tests.support import require_tool
from tests.unit.lab import until
from tests.wire.guest import Guest
from wirebay.errors import HostError
from wirebay.network import Network

pytestmark = pytest.mark.anyio


@contextmanager
def switch(directory: Path) -> Iterator[None]:
    """A running vde_switch."""
    command = [require_tool("vde_switch", "vde2"), "-s", str(directory), "-hub"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"showinfo\n")
        process.stdin.flush()
        while process.stdout.readline() != b"1000 Success\n":
            pass  # when its console answers it is up
        try:
            yield
        finally:
            process.terminate()
            process.wait(10)


async def test_a_port_of_a_switch_reaches_qemu_on_another(
    network: Network, card: Guest, tmp_path: Path
) -> None:
    directory = tmp_path / "switch"
    with switch(directory):
        port = await network.add("vde", id="n", sock=directory, port=3)
        await join(network, port)
        async with rig(f"vde,id=b,sock={directory}", tmp_path) as far:
            await both_ways(card, far)
        await network.ports["n"].close()
        assert not list(directory.glob(".*"))


async def test_a_switch_that_comes_again_is_found_again(
    network: Network, card: Guest, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    directory = tmp_path / "switch"
    with switch(directory):
        port = await network.add("vde", id="n", sock=directory, reconnect_ms=20)
        await join(network, port)
    with switch(directory):
        async with rig(f"vde,id=b,sock={directory}", tmp_path) as far:
            await found(card, far)
            await both_ways(card, far)
    assert f"vde port 'n': the switch {directory} has gone" in caplog.messages


async def found(card: Guest, far: Guest) -> None:
    """Send until something arrives."""

    async def knock() -> None:
        while True:
            await card.send(frame(200))
            await asyncio.sleep(0.05)

    knocking = asyncio.create_task(knock())
    await heard(far, frame(200))
    knocking.cancel()
    await card.send(frame(201))
    while await far.receive() != frame(201):
        pass


@pytest.fixture
async def served(network: Network, card: Guest, tmp_path: Path) -> AsyncIterator[Path]:
    """A switch of ours, with the card on its hub."""
    directory = tmp_path / "ours"
    port = await network.add("vde", id="n", sock=directory, server=True)
    await join(network, port)
    yield directory
    await port.close()
    assert not directory.exists()


async def test_qemu_finds_a_switch_of_ours(
    network: Network, card: Guest, served: Path, tmp_path: Path
) -> None:
    for _ in range(2):
        async with rig(f"vde,id=b,sock={served}", tmp_path) as far:
            await both_ways(card, far)
            assert "n/1" in network.ports
        await until(lambda: "n/1" not in network.ports)


async def test_two_clients_hear_each_other(
    network: Network, card: Guest, served: Path, tmp_path: Path
) -> None:
    one, two = tmp_path / "1", tmp_path / "2"
    one.mkdir()
    two.mkdir()
    async with rig(f"vde,id=b,sock={served}", one) as far, rig(f"vde,id=b,sock={served}", two) as other:
        await far.send(frame(1))
        await heard(other, frame(1))
        await heard(card, frame(1))


async def test_a_switch_that_is_not_there_is_said_in_qemus_words(network: Network, tmp_path: Path) -> None:
    with pytest.raises(HostError, match="Could not open vde: No such file or directory"):
        await network.add("vde", id="n", sock=tmp_path / "nowhere")
