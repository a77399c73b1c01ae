"""QEMU without a guest: its netdev under test, and behind it a test that speaks Ethernet.

`-M none` with two hubports joins the netdev to a stream socket of ours (facts of QEMU 7.2 and later), so what
a test sends there leaves QEMU through the netdev, and what comes in is read there.

QEMU connects that socket in the background and drops frames meanwhile. Hence the probe, a third port of the
hub: when a frame sent on the stream socket arrives there, all of it is up.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from tests.support import require_tool
from tests.wire.guest import Guest
from tests.wire.packets import BROADCAST, ethernet

TIMEOUT = 30
# A protocol number for experiments (IEEE 802) that is not the one of the tests' frames.
PROBE = 0x88B6
QUIET = ("-M", "none", "-nodefaults", "-display", "none", "-monitor", "none", "-qmp", "stdio")


@asynccontextmanager
async def rig(
    netdev: str, directory: Path, *, fds: Sequence[int] = (), within: Sequence[str] = ()
) -> AsyncIterator[Guest]:
    """QEMU with `netdev` (its id must be `b`), ready; yields the card that is all there is behind it.

    `fds` are inherited by QEMU; `within` is a command that runs it somewhere else.
    """
    path = directory / "rig.sock"
    probe, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    probe.setblocking(False)
    with probe, theirs, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        listener.setblocking(False)
        process = await asyncio.create_subprocess_exec(
            *within,
            require_tool("qemu-system-x86_64", "qemu-system-x86"),
            *QUIET,
            *("-netdev", netdev),
            *("-netdev", f"dgram,id=p,local.type=fd,local.str={theirs.fileno()}"),
            *("-netdev", f"stream,id=s,server=off,addr.type=unix,addr.path={path}"),
            *("-netdev", "hubport,id=h0,hubid=0,netdev=b"),
            *("-netdev", "hubport,id=h1,hubid=0,netdev=s"),
            *("-netdev", "hubport,id=h2,hubid=0,netdev=p"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            pass_fds=(*fds, theirs.fileno()),
        )
        try:
            assert process.stdout is not None
            async with asyncio.timeout(TIMEOUT):
                assert b"QMP" in await process.stdout.readline(), "QEMU did not take its options"
                far, _ = await asyncio.get_running_loop().sock_accept(listener)
            with Guest(far, 9) as guest:
                await guest.send(ethernet(BROADCAST, guest.mac, PROBE, b""))
                async with asyncio.timeout(TIMEOUT):
                    await asyncio.get_running_loop().sock_recv(probe, 100)
                probe.close()
                yield guest
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()
    path.unlink()
