"""Signals with their origin: a Ctrl-C at the terminal reaches a child by itself, a `kill` must be passed on.

Delivering one Ctrl-C twice is not harmless: many programs leave at once at the second. Only a signalfd tells
where a signal came from.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import struct
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

# struct signalfd_siginfo, signalfd(2): ssi_signo, ssi_errno, ssi_code, and more that is not needed.
SIGINFO = struct.Struct("=Iii116x")
SI_KERNEL = 0x80
SIGSET_WORDS = 16  # 1024 bits of 64

Handler = Callable[[int, bool], None]


class Signals:
    """Inside the context, signals go to `handler`: the number, and whether the kernel (a terminal) sent it.

    Signals that are ignored (nohup) stay so. After the context the others have no effect on the running loop:
    it is for programs that have nothing left to do but to clean up.
    """

    def __init__(self, numbers: Sequence[signal.Signals], handler: Handler) -> None:
        self._numbers = [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]
        self._handler = handler
        self._loop = asyncio.get_running_loop()
        self._fd = -1

    def __enter__(self) -> Self:
        self._fd = _signalfd(self._numbers)
        for number in self._numbers:
            # For a process with threads, where a signal may find one that does not block it. Origin unknown.
            self._loop.add_signal_handler(number, self._handler, number, False)
        signal.pthread_sigmask(signal.SIG_BLOCK, self._numbers)
        self._loop.add_reader(self._fd, self._read)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.remove_reader(self._fd)
        os.close(self._fd)
        for number in self._numbers:
            self._loop.add_signal_handler(number, lambda: None)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, self._numbers)

    def _read(self) -> None:
        try:
            number, _, code = SIGINFO.unpack(os.read(self._fd, SIGINFO.size))
        except BlockingIOError:  # another thread was faster
            return
        self._handler(number, code == SI_KERNEL)


def _signalfd(numbers: Sequence[signal.Signals]) -> int:
    """signalfd(2), which Python does not have. Raises OSError."""
    mask = (ctypes.c_uint64 * SIGSET_WORDS)()
    for number in numbers:
        mask[(number - 1) // 64] |= 1 << (number - 1) % 64
    # SFD_NONBLOCK and SFD_CLOEXEC are the same bits.
    fd = int(ctypes.CDLL(None, use_errno=True).signalfd(-1, mask, os.O_NONBLOCK | os.O_CLOEXEC))
    if fd < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return fd
