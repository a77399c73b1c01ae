"""Signals with their origin: a Ctrl-C at the terminal reaches a child by itself, a `kill` must be passed on.

Delivering one Ctrl-C twice is not harmless: many programs leave at once at the second. A handler is not told
where a signal came from, only one who waits for it is.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from wirebay.cli.loop import heeded

SI_KERNEL = 0x80  # asm-generic/siginfo.h: sent by the kernel, which is to say by a terminal

Handler = Callable[[int, bool], None]


class Signals:
    """Inside the context, STOP_SIGNALS go to `handler`: the number, and whether a terminal sent it.

    Those that are ignored (nohup) stay so. After the context the others have no effect on the running loop:
    it is for programs that have nothing left to do but to clean up.
    """

    def __init__(self, handler: Handler) -> None:
        self._numbers = heeded()
        self._handler = handler
        self._loop = asyncio.get_running_loop()
        self._over = False
        self._waiting = threading.Thread(target=self._wait, daemon=True)

    def __enter__(self) -> Self:
        for number in self._numbers:
            # For a process with threads, where a signal may find one that does not block it. Origin unknown.
            self._loop.add_signal_handler(number, self._handler, number, False)
        signal.pthread_sigmask(signal.SIG_BLOCK, self._numbers)
        if self._numbers:
            self._waiting.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over = True
        if self._waiting.ident is not None:
            # Any signal wakes the thread. (That it came from here cannot be told: the C library hides it.)
            signal.pthread_kill(self._waiting.ident, self._numbers[0])
            self._waiting.join()
        for number in self._numbers:
            self._loop.add_signal_handler(number, lambda: None)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, self._numbers)

    def _wait(self) -> None:
        while True:
            info = signal.sigwaitinfo(self._numbers)
            if self._over:
                return
            self._loop.call_soon_threadsafe(self._handler, info.si_signo, info.si_code == SI_KERNEL)
