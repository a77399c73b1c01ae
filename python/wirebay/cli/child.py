"""A command's child process: started, told of every signal, and never left behind.

`spawn` starts the child and `supervise` waits for it. From then on SIGTERM, SIGHUP and SIGINT go to the
child, and the command ends after it.

A Ctrl-C at the terminal reaches the child by itself, since it is in our process group; it is not passed on.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

from wirebay.cli.loop import FailingNetwork
from wirebay.cli.signals import Signals
from wirebay.errors import HostError

GRACE = 3.0  # seconds between SIGTERM and SIGKILL
NETWORK_FAILED = 1
STATUS_LOST = 1


def spawn(argv: Sequence[str]) -> int:
    """Start a program in our process group and return its process id, for `supervise`.

    It inherits the descriptors that we inherited, and the kernel sends it SIGTERM if we die without having
    ended it. Raises HostError if it cannot be started.
    """
    from wirebay import _core

    parent = os.getpid()

    # Runs in the child between fork and exec. That is unsafe beside threads, whose locks would stay locked;
    # Wirebay has none, and what happens here is three system calls.
    def tie_to_parent() -> None:
        _core.set_parent_death_signal(signal.SIGTERM)
        if os.getppid() != parent:  # it died in the meantime
            os.kill(os.getpid(), signal.SIGTERM)

    try:
        child = subprocess.Popen(list(argv), close_fds=False, preexec_fn=tie_to_parent)
    except OSError as error:
        raise HostError(f"Could not start '{argv[0]}': {error.strerror}") from error
    except subprocess.SubprocessError as error:
        raise HostError(f"Could not start '{argv[0]}' so that it ends with wirebay") from error
    child.returncode = 0  # it is supervise() that reaps it: Popen is to neither wait for it nor warn
    return child.pid


async def supervise(
    pid: int, network: FailingNetwork, what: str, *, go: Callable[[], None] = lambda: None
) -> int:
    """Wait for the child process `pid` and return its exit status, 128 + n for one that signal n ended.

    `go` lets a child go that waits for it: at once, but not before it can be told where a signal came from.

    SIGTERM, SIGHUP and SIGINT are passed on to it unless the terminal sent them to it as well, and have no
    effect on us any more even after this returns: what is left to do then is to clean up.

    If `network` fails first, that is told on standard error, where `what` names the child; the child is
    ended, with SIGTERM, after three seconds with SIGKILL, and the result is 1.
    """
    with _Child(pid) as child, Signals(child.pass_on):
        failure = asyncio.ensure_future(network.failed())
        try:
            go()
            either: list[asyncio.Future[Any]] = [child.ended, failure]
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if child.ended.done():
                return child.ended.result()
            print(f"wirebay: {failure.result().rstrip('.')}; ending {what}", file=sys.stderr, flush=True)
            return NETWORK_FAILED
        finally:
            failure.cancel()
            await child.end()


class _Child:
    """A child process, by its pidfd, which never means another one. `ended` resolves to its exit status."""

    def __init__(self, pid: int) -> None:
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[int] = self._loop.create_future()
        self._pid = pid
        self._pidfd = os.pidfd_open(pid)
        self._loop.add_reader(self._pidfd, self._reap)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)

    def send(self, number: int) -> None:
        """Send a signal, if there still is somebody to get it (and who may: a set-uid program may not)."""
        if not self.ended.done():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                signal.pidfd_send_signal(self._pidfd, number)

    def pass_on(self, number: int, from_terminal: bool) -> None:
        """Send it a signal that we got, unless it got the same one."""
        if not (from_terminal and self._is_in_our_group()):
            self.send(number)

    def _is_in_our_group(self) -> bool:
        try:
            return os.getpgid(self._pid) == os.getpgrp()
        except ProcessLookupError:
            return False

    async def end(self) -> None:
        """See to it that the child has ended, by and by with force."""
        self.send(signal.SIGTERM)
        try:
            await asyncio.wait({self.ended}, timeout=GRACE)
        finally:
            self.send(signal.SIGKILL)
            await asyncio.wait({self.ended})

    def _reap(self) -> None:
        self._loop.remove_reader(self._pidfd)
        try:
            end = os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED)
        except ChildProcessError:  # whoever started us had SIGCHLD ignored, so the kernel threw it away
            end = None
        if end is None:
            self.ended.set_result(STATUS_LOST)
        else:
            self.ended.set_result(end.si_status if end.si_code == os.CLD_EXITED else 128 + end.si_status)
