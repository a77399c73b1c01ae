"""Programs that serve one connection each, in the manner of inetd: the connection is their input and output.

A program ends by itself when it reads the end of the connection. One that does not is told to a moment
after the connection is gone, with SIGTERM and then SIGKILL to its process group; so are all when the port
closes. That the connection is gone shows on the program's end of it, of which a copy stays here, as a
hang-up, which is neither data nor a mere half close; the copy goes when the program has ended, or the guest
would wait for more."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

from wirebay.errors import HostError
from wirebay.waiting import readable

__all__ = ["Programs", "loopback_pair"]

STDERR = 2
GRACE = 1.0  # seconds between the end of the connection, SIGTERM and SIGKILL

MakePair = Callable[[], tuple[socket.socket, socket.socket]]


class Programs:
    """The running programs of one service, at most `most` at a time."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._running: set[asyncio.Task[None]] = set()
        self._closing = asyncio.Event()

    def start(
        self,
        command: Sequence[str],
        pair: MakePair = socket.socketpair,
        environment: Mapping[str, str] | None = None,
    ) -> socket.socket:
        """Run `command`; returns the far end of its connection. Raises HostError.

        `pair` makes the connection. Standard error is ours, as is the environment unless another is given.
        """
        if len(self._running) >= self._most:
            raise HostError(f"{self._most} copies of '{command[0]}' run already")
        far, near = pair()
        try:
            pid = spawn(command, near.fileno(), os.environ if environment is None else environment)
        except OSError as error:
            far.close()
            near.close()
            raise HostError(f"Failed to execute '{command[0]}': {error.strerror}") from error
        task = asyncio.get_running_loop().create_task(attend(pid, near, self._closing))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return far

    async def close(self) -> None:
        """End them all, and start no more."""
        self._most = 0
        self._closing.set()
        while self._running:
            await asyncio.wait(self._running)


def spawn(command: Sequence[str], stdio: int, environment: Mapping[str, str]) -> int:
    """Start a program in a session of its own; returns its process id. Raises OSError.

    It has the descriptor `stdio` as its input and output, no other but our standard error, and, unlike with
    `subprocess`, no signal blocked: a command that waits for its child has them all blocked (cli/signals.py).
    """
    actions: list[tuple[int, int] | tuple[int, int, int]]
    actions = [(os.POSIX_SPAWN_DUP2, stdio, 0), (os.POSIX_SPAWN_DUP2, stdio, 1)]
    actions += [(os.POSIX_SPAWN_CLOSE, fd) for fd in inheritable() if fd > STDERR]
    return os.posix_spawnp(
        command[0],
        list(command),
        environment,
        file_actions=actions,
        setsid=True,
        setsigmask=(),
        setsigdef=(signal.SIGPIPE, signal.SIGXFSZ),  # which Python ignores
    )


def inheritable() -> list[int]:
    """The descriptors that a program would inherit."""
    found = []
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # the one for this listing is gone by now
            if os.get_inheritable(int(entry.name)):
                found.append(int(entry.name))
    return found


async def attend(pid: int, near: socket.socket, closing: asyncio.Event) -> None:
    """Stay with a program until it has ended, its connection is gone, or all is to end."""
    pidfd = os.pidfd_open(pid)
    with near:
        await first(readable(pidfd), hung_up(near), wait_for(closing))
    if not closing.is_set():
        await within(GRACE, pidfd)
    await end(pid, pidfd)


async def wait_for(event: asyncio.Event) -> None:
    """Wait for an event."""
    await event.wait()


async def end(pid: int, pidfd: int) -> None:
    """End a program that still runs, and reap it; closes `pidfd`."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if has_ended(pidfd):
            break
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, number)
        await within(GRACE, pidfd)
    reap(pidfd)
    os.close(pidfd)


def reap(pidfd: int) -> None:
    """Reap a child that has ended. After SIGKILL nothing is worth waiting for."""
    with contextlib.suppress(ChildProcessError):  # whoever started us had SIGCHLD ignored
        os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOHANG)


def has_ended(pidfd: int) -> bool:
    """Whether the process is over, reaped or not."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(0))


async def within(seconds: float, pidfd: int) -> None:
    """Wait so long at most for a process to end."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(readable(pidfd), seconds)


async def hung_up(sock: socket.socket) -> None:
    """Wait until the other end of `sock` is closed for both directions."""
    with select.epoll() as watch:
        watch.register(sock, 0)  # a hang-up is told unasked, and nothing else is
        await readable(watch.fileno())


async def first(*waits: Awaitable[None]) -> None:
    """Wait for the first of several."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


def loopback_pair() -> tuple[socket.socket, socket.socket]:
    """A connected pair like socketpair(), over TCP on loopback, for programs that want to see an address."""
    with socket.create_server(("127.0.0.1", 0), backlog=8) as listener:
        far = socket.create_connection(listener.getsockname())
        try:
            while True:  # whoever else connected meanwhile is not let in
                near, peer = listener.accept()
                if peer == far.getsockname():
                    return far, near
                near.close()
        except BaseException:
            far.close()
            raise
