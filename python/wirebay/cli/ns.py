"""wirebay ns: a rootless namespace with a working network, for a new command or around a running process."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

from wirebay.cli.control import Doors
from wirebay.cli.ns_options import guest_config, make_parser, parse, user_options
from wirebay.cli.ready import check_ready_fd, report_ready
from wirebay.errors import HostError, WirebayError
from wirebay.ifconfig import GuestConfig
from wirebay.options.types import UserOptions

if TYPE_CHECKING:
    from wirebay.network import Network
    from wirebay.tun import Tap

__all__ = ["make_parser", "run"]

#: How long the last bytes of a command that has ended may take, seconds.
DRAIN_SECONDS = 2.0


def run(argv: list[str]) -> int:
    """The command. Returns its exit status; leaves with 2 for wrong usage, raises WirebayError."""
    arguments = parse(argv)
    options = user_options(arguments)
    guest = guest_config(options, arguments.ifname)
    doors = Doors.of(arguments)
    check_ready_fd(arguments.ready_fd)
    if arguments.pid is not None:
        return serve_process(arguments.pid, options, guest, arguments.ready_fd, doors)
    return run_command(arguments.command, options, guest, arguments.ready_fd, doors)


async def drained(network: Network) -> None:
    """Wait, not for long, until what COMMAND sent before it ended has gone out: its kernel still has it."""
    end = time.monotonic() + DRAIN_SECONDS
    with contextlib.suppress(WirebayError):  # a dead worker has nothing left to send
        while time.monotonic() < end:
            ports = (await network.stats())["ports"].values()
            if not any(port.get("flows", {}).get("tcp") for port in ports):
                return
            await asyncio.sleep(0.01)


def run_command(
    command: list[str], options: UserOptions, guest: GuestConfig, ready_fd: int | None, doors: Doors
) -> int:
    """Run `command` in a namespace of its own; returns its exit status."""
    from wirebay.netns import spawn

    inside = spawn(command, guest)  # before any event loop; what follows is imported while it sets itself up
    try:
        from wirebay.cli.child import supervise
        from wirebay.cli.loop import run_loop

        def go() -> None:
            inside.go()
            report_ready(ready_fd)

        async def serve(network: Network) -> int:
            async with doors.open(network):
                status = await supervise(inside.pid, network, command[0], go=go)
            await drained(network)
            return status

        return run_loop(with_network(options, inside.tap(), serve))
    finally:
        inside.close()


def serve_process(
    pid: int, options: UserOptions, guest: GuestConfig, ready_fd: int | None, doors: Doors
) -> int:
    """Connect the namespace of process `pid`, and serve it until the process ends or a signal says stop."""
    from wirebay.cli.loop import run_loop, until_stopped
    from wirebay.netns import netns_of, open_tap_in

    pidfd = open_process(pid)
    try:
        check_elsewhere(pid, netns_of(pid))
        tap = open_tap_in(netns_of(pid), guest=guest)
        check_alive(pid, pidfd)

        async def serve(network: Network) -> int:
            async with doors.open(network):
                report_ready(ready_fd)
                await until_stopped(network, pidfd)
            return 0

        return run_loop(with_network(options, tap, serve))
    finally:
        os.close(pidfd)


def open_process(pid: int) -> int:
    """A pidfd: it tells when the process ends, and never means another one. Raises HostError."""
    try:
        return os.pidfd_open(pid)
    except OverflowError:
        reason: str | None = "no such process"
    except OSError as error:
        reason = "no such process" if error.errno in (errno.ESRCH, errno.EINVAL) else error.strerror
    raise HostError(f"--pid {pid}: {reason}")


def check_elsewhere(pid: int, netns: str) -> None:
    """Raise HostError for a process in our own network namespace: it would lose its way out over ours."""
    with contextlib.suppress(OSError):  # said better by whoever enters it
        if Path(netns).samefile("/proc/self/ns/net"):
            raise HostError(
                f"--pid {pid}: the process is in this network namespace itself; start it with 'unshare --net'"
            )


def check_alive(pid: int, pidfd: int) -> None:
    """Raise HostError if the process is gone, so that its pid may mean another one."""
    try:
        signal.pidfd_send_signal(pidfd, 0)
    except ProcessLookupError:
        raise HostError(f"--pid {pid}: the process ended") from None
    except PermissionError:
        return  # it is there; its network namespace was ours to enter all the same


async def with_network(options: UserOptions, tap: Tap, serve: Callable[[Network], Awaitable[int]]) -> int:
    """Join the TAP, which it takes over, and the user network, then `serve`; returns what that returned."""
    from wirebay.network import Network

    async with Network() as network:
        ports = [await network.add("tap", id="tap0", tap=tap), await network.add(options)]
        await network.join(*ports)
        return await serve(network)
