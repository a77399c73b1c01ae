"""A command's child process: started, told of every signal, and never left behind.

`run_loop` runs the event loop, `spawn` starts the child in it and `supervise` waits for it. Until the child
runs, SIGTERM and SIGHUP end the command through all its clean-up; from then on they go to the child, and the
command ends after it. Signals that whoever started us had ignored (nohup) stay ignored.

A Ctrl-C at the terminal reaches the child by itself, since it is in our process group; it is not passed on.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Coroutine, Sequence
from types import TracebackType
from typing import Any, Protocol, Self

from wirebay.cli.signals import Signals
from wirebay.errors import HostError

FORWARDED = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
GRACE = 3.0  # seconds between SIGTERM and SIGKILL
NETWORK_FAILED = 1
STATUS_LOST = 1


class FailingNetwork(Protocol):
    """What `supervise` needs of a network."""

    async def failed(self) -> str:
        """Wait until something ends the whole network; returns the sentence that tells what."""


def run_loop(main: Coroutine[Any, Any, int]) -> int:
    """Run `main` in an event loop of its own and return its result.

    SIGTERM and SIGHUP cancel it, so that it cleans up; the result then is 128 and the signal's number. SIGINT
    does the same and raises KeyboardInterrupt.
    """
    return asyncio.run(_cancelled_by_signals(main))


async def _cancelled_by_signals(main: Coroutine[Any, Any, int]) -> int:
    task = asyncio.ensure_future(main)
    received: list[int] = []

    def stop(number: int) -> None:
        if not received:  # a second one must not break off the clean-up
            task.cancel()
        received.append(number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            asyncio.get_running_loop().add_signal_handler(number, stop, number)
    try:
        return await task
    except asyncio.CancelledError:
        if not received:
            raise
        return 128 + received[0]


def spawn(
    argv: Sequence[str], *, pass_fds: Sequence[int] = (), death_signal: signal.Signals = signal.SIGTERM
) -> int:
    """Start a program in our process group and return its process id, for `supervise`.

    The kernel sends it `death_signal` if we die without having ended it. Raises HostError if it cannot be
    started.
    """
    from wirebay import _core

    parent = os.getpid()

    # Runs in the child between fork and exec. That is unsafe beside threads, whose locks would stay locked;
    # Wirebay has none, and what happens here is three system calls.
    def tie_to_parent() -> None:
        _core.set_parent_death_signal(death_signal)
        if os.getppid() != parent:  # it died in the meantime
            os.kill(os.getpid(), death_signal)

    try:
        child = subprocess.Popen(list(argv), pass_fds=pass_fds, preexec_fn=tie_to_parent)
    except OSError as error:
        raise HostError(f"Could not start '{argv[0]}': {error.strerror}") from error
    except subprocess.SubprocessError as error:
        raise HostError(f"Could not start '{argv[0]}' so that it ends with wirebay") from error
    child.returncode = 0  # it is supervise() that reaps it: Popen is to neither wait for it nor warn
    return child.pid


async def supervise(pid: int, network: FailingNetwork, what: str) -> int:
    """Wait for the child process `pid` and return its exit status, 128 + n for one that signal n ended.

    SIGTERM, SIGHUP and SIGINT are passed on to it unless the terminal sent them to it as well, and have no
    effect on us any more even after this returns: what is left to do then is to clean up.

    If `network` fails first, that is told on standard error, where `what` names the child; the child is
    ended, with SIGTERM, after three seconds with SIGKILL, and the result is 1.
    """
    with _Child(pid) as child, Signals(FORWARDED, child.pass_on):
        failure = asyncio.ensure_future(network.failed())
        try:
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
