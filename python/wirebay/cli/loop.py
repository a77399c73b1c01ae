"""The event loop of a command, and how signals end it.

A signal ends a command through all its clean-up, whatever it is doing. A command that serves until it is
told to stop waits in `until_stopped`, where a signal is its proper end. Signals that whoever started us had
ignored (nohup) stay ignored.

All of them are acted on by the event loop, between its steps: what happens without `await` before a wait, as
telling that we are ready, cannot be followed by a signal that the wait does not see.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Protocol

from wirebay.errors import WorkerError
from wirebay.waiting import resolve

__all__ = ["STOP_SIGNALS", "FailingNetwork", "heeded", "run_loop", "until_stopped"]

STOP_SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


class FailingNetwork(Protocol):
    """What is needed of a network here."""

    async def failed(self) -> str:
        """Wait until something ends the whole network; returns the sentence that tells what."""


def heeded() -> list[signal.Signals]:
    """Those of STOP_SIGNALS that are not ignored."""
    return [number for number in STOP_SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]


def run_loop(main: Coroutine[Any, Any, int]) -> int:
    """Run `main` in an event loop of its own and return its result.

    The first of STOP_SIGNALS cancels it, so that it cleans up; the result then is 128 and its number.
    """
    return asyncio.run(_cancelled_by_signals(main))


async def _cancelled_by_signals(main: Coroutine[Any, Any, int]) -> int:
    task = asyncio.ensure_future(main)
    received: list[int] = []

    def stop(number: int) -> None:
        if not received:  # a second one must not break off the clean-up
            task.cancel()
        received.append(number)

    for number in heeded():
        asyncio.get_running_loop().add_signal_handler(number, stop, number)
    try:
        return await task
    except asyncio.CancelledError:
        if not received:
            raise
        return 128 + received[0]


async def until_stopped(
    network: FailingNetwork,
    pidfd: int | None = None,
    *,
    ends: Iterable[asyncio.Future[str]] = (),
    on_hangup: Callable[[], None] | None = None,
) -> None:
    """Wait for one of STOP_SIGNALS, for the end of the process behind `pidfd`, or for one of `ends`.

    SIGHUP does not count where `on_hangup` is there: that is called then.

    After this the signals have no effect: what is left to do then is to clean up. Raises WorkerError when the
    network fails first.
    """
    loop = asyncio.get_running_loop()
    stopped: asyncio.Future[None] = loop.create_future()
    failure = asyncio.ensure_future(network.failed())
    for number in heeded():
        loop.add_signal_handler(number, resolve, stopped)
    if on_hangup is not None:
        loop.add_signal_handler(signal.SIGHUP, on_hangup)
    if pidfd is not None:
        loop.add_reader(pidfd, resolve, stopped)
    try:
        awaited: list[asyncio.Future[Any]] = [stopped, failure, *ends]
        await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
        if failure.done() and not stopped.done():
            raise WorkerError(failure.result())
    finally:
        failure.cancel()
        if on_hangup is not None:
            loop.add_signal_handler(signal.SIGHUP, resolve, stopped)
        if pidfd is not None:
            loop.remove_reader(pidfd)
