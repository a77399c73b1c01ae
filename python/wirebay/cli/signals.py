"""Signals with their origin: a Ctrl-C at the terminal reaches a child by itself, a `kill` must be passed on.

Delivering one Ctrl-C twice is not harmless: many programs leave at once at the second. A handler is not told
where a signal came from, only one who waits for it is.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from wirebay.cli.loop import heeded

SI_KERNEL = 0x80  # asm-generic/siginfo.h: sent by the kernel, which is to say by a terminal ...
ENOUGH = signal.SIGRTMAX  # ends the thread that waits; nobody else sends it

Handler = Callable[[int, bool], None]


class Signals:
    """Inside the context, STOP_SIGNALS go to `handler`: the number, and whether a terminal sent it to a child
    as well.

    Those that are ignored (nohup) stay so. After the context the others have no effect on the running loop:
    it is for programs that have nothing left to do but to clean up.
    """

    def __init__(self, handler: Handler) -> None:
        self._numbers = heeded()
        self._handler = handler
        self._loop = asyncio.get_running_loop()
        self._waiting = threading.Thread(target=self._wait, daemon=True)

    def __enter__(self) -> Self:
        for number in self._numbers:
            # For a process with threads, where a signal may find one that does not block it. Origin unknown.
            self._loop.add_signal_handler(number, self._handler, number, False)
        signal.pthread_sigmask(signal.SIG_BLOCK, [*self._numbers, ENOUGH])
        self._waiting.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._waiting.ident is not None
        signal.pthread_kill(self._waiting.ident, ENOUGH)
        self._waiting.join()
        for number in self._numbers:
            self._loop.add_signal_handler(number, lambda: None)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [*self._numbers, ENOUGH])

    def _wait(self) -> None:
        while (info := signal.sigwaitinfo([*self._numbers, ENOUGH])).si_signo != ENOUGH:
            for_all = info.si_code == SI_KERNEL and not is_for_us_alone(info.si_signo)
            self._loop.call_soon_threadsafe(self._handler, info.si_signo, for_all)


def is_for_us_alone(number: int) -> bool:
    """... that closes: it tells the leader of the session, and nobody else."""
    return number == signal.SIGHUP and os.getsid(0) == os.getpid()
