"""The programs that QEMU runs for a TAP: /etc/qemu-ifup, /etc/qemu-ifdown, and the bridge helper."""

from __future__ import annotations

import asyncio
import os
import shlex
import socket
from collections.abc import Sequence

from wirebay.errors import HostError
from wirebay.waiting import readable

IFUP, IFDOWN = "/etc/qemu-ifup", "/etc/qemu-ifdown"


def script_to_run(option: str | None, default: str) -> str | None:
    """The script that an option names: `default`, if there is one, when it is silent."""
    if option is None:
        return default if os.access(default, os.X_OK) else None
    return option or None


async def run_script(script: str, ifname: str) -> None:
    """Run a script with the interface's name. Raises HostError with QEMU's sentence when it fails."""
    sentence = f"network script {script} failed with status"
    try:
        process = await asyncio.create_subprocess_exec(script, ifname, stdin=asyncio.subprocess.DEVNULL)
    except OSError as error:
        raise HostError(f"{sentence} 256: {error.strerror}") from error
    status = await wait(process)
    if status != 0:
        raise HostError(f"{sentence} {raw_status(status)}")


async def run_helper(helper: str, bridge: str) -> int:
    """Have a helper make a TAP on a bridge; returns its descriptor, which the caller closes.

    The contract is QEMU's: `--use-vnet --fd=N --br=NAME`, where N is a unix stream socket on which the helper
    sends the descriptor with one byte. A helper with a blank in it is a command of the shell. Raises
    HostError.
    """
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with ours:
        with theirs:
            words = helper_command(helper, bridge, theirs.fileno())
            try:
                process = await asyncio.create_subprocess_exec(
                    *words, stdin=asyncio.subprocess.DEVNULL, pass_fds=[theirs.fileno()]
                )
            except OSError as error:
                raise HostError(f"bridge helper failed: {helper}: {error.strerror}") from error
        await readable(ours.fileno())
        fds = received(ours)
    if await wait(process) != 0 or len(fds) != 1:
        for fd in fds:
            os.close(fd)
        raise HostError(f"bridge helper failed ({helper}, bridge {bridge})")
    return fds[0]


def helper_command(helper: str, bridge: str, fd: int) -> Sequence[str]:
    """The words that start a helper."""
    arguments = ["--use-vnet", f"--fd={fd}", f"--br={bridge}"]
    if " " not in helper and "\t" not in helper:
        return [helper, *arguments]
    given = [word for word in arguments if not (word.startswith("--br=") and "--br=" in helper)]
    return ["/bin/sh", "-c", f"{helper} {shlex.join(given)}"]


def received(sock: socket.socket) -> list[int]:
    """The descriptors that came with a byte; none at the end of the connection."""
    _, fds, _, _ = socket.recv_fds(sock, 1, 4)
    for fd in fds:
        os.set_inheritable(fd, False)
    return fds


async def wait(process: asyncio.subprocess.Process) -> int:
    """Wait for the end of a program, and end it if nobody waits any more."""
    try:
        return await process.wait()
    except BaseException:
        if process.returncode is None:
            process.kill()
        raise


def raw_status(status: int) -> int:
    """An exit status as wait(2) gives it, which is what QEMU says."""
    return -status if status < 0 else status << 8
