"""Our mirror and redirector with QEMU's at the other end of their connections."""

from __future__ import annotations

import asyncio
import contextlib
import struct
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support import require_tool
from tests.wire.guest import Guest
from tests.wire.packets import BROADCAST, ethernet
from wirebay.network import Network
from wirebay.ports.stream import StreamPort

pytestmark = pytest.mark.anyio

EXPERIMENT = 0x88B5


@pytest.fixture(scope="module")
def qemu() -> str:
    return require_tool("qemu-system-x86_64", "qemu-system-x86")


def frame(number: int) -> bytes:
    return ethernet(
        BROADCAST, bytes((2, 0, 0, 0, 0, 1)), EXPERIMENT, struct.pack("!I", number).ljust(46, b"\0")
    )


@contextlib.contextmanager
def running(program: str, *words: str) -> Iterator[None]:
    """QEMU without a machine, for its back ends."""
    argv = [program, "-M", "none", "-nodefaults", "-display", "none", *words]
    with subprocess.Popen(argv) as process:
        try:
            yield
        finally:
            process.kill()


async def server(network: Network, name: str, path: Path) -> tuple[StreamPort, str]:
    """A stream port that listens, and QEMU's option to connect to it."""
    port = await network.add("stream", id=name, server=True, addr={"type": "unix", "path": path})
    assert isinstance(port, StreamPort)
    return port, f"stream,id={name},addr.type=unix,addr.path={path}"


async def repeated(sender: Guest, receiver: Guest) -> int:
    """Send until something arrives: QEMU connects when it likes. The number that came first."""

    async def send() -> None:
        for number in range(1 << 16):
            await sender.send(frame(number))
            await asyncio.sleep(0.02)

    sending = asyncio.create_task(send())
    try:
        got = await asyncio.wait_for(receiver.receive(), 20)
    finally:
        sending.cancel()
    (number,) = struct.unpack_from("!I", got, 14)
    assert got == frame(number)
    return int(number)


async def test_what_qemu_mirrors_comes_in_through_our_redirector(
    network: Network, tmp_path: Path, qemu: str
) -> None:
    with ExitStack() as stack:
        pairs = [await Guest.on(network, f"vm{number}", number) for number in (1, 2, 3)]
        first, second, third = (stack.enter_context(guest) for guest, _ in pairs)
        link, option = await server(network, "s", tmp_path / "s")
        await network.join(pairs[0][1], link)
        await network.join(pairs[1][1], pairs[2][1])
        await network.add_chardev(f"socket,id=in,path={tmp_path}/in,server=on,wait=off")
        await network.add_object("filter-redirector", id="r0", netdev="vm2", indev="in", queue="tx")
        with running(
            qemu, "-netdev", option,
            "-netdev", "hubport,id=h0,hubid=0,netdev=s", "-netdev", "hubport,id=h1,hubid=0",
            "-chardev", f"socket,id=c0,path={tmp_path}/in",
            "-object", "filter-mirror,id=m0,netdev=s,queue=tx,outdev=c0",
        ):  # fmt: skip
            await repeated(first, third)
        del second


async def test_what_we_mirror_comes_in_through_qemus_redirector(
    network: Network, tmp_path: Path, qemu: str
) -> None:
    with ExitStack() as stack:
        pairs = [await Guest.on(network, f"vm{number}", number) for number in (1, 2)]
        first, second = (stack.enter_context(guest) for guest, _ in pairs)
        _, source = await server(network, "s", tmp_path / "s")
        target, option = await server(network, "t", tmp_path / "t")
        await network.join(pairs[1][1], target)
        await network.join(pairs[0][1])
        await network.add_chardev(f"socket,id=out,path={tmp_path}/out,server=on,wait=off")
        await network.add_object("filter-mirror", id="m0", netdev="vm1", outdev="out", queue="tx")
        with running(
            qemu, "-netdev", source, "-netdev", option,
            "-netdev", "hubport,id=h0,hubid=0,netdev=s", "-netdev", "hubport,id=h1,hubid=0,netdev=t",
            "-chardev", f"socket,id=c0,path={tmp_path}/out",
            "-object", "filter-redirector,id=r0,netdev=s,queue=tx,indev=c0",
        ):  # fmt: skip
            await repeated(first, second)
