"""Telling systemd how it goes: sd_notify(3), as its own few lines."""

from __future__ import annotations

import contextlib
import os
import socket
import time

__all__ = ["Notifier"]

ENVIRONMENT = "NOTIFY_SOCKET"


class Notifier:
    """Speaks to the service manager that started us; without one it says nothing.

    The environment variable is taken away, so that programs we start do not speak in our name.
    """

    def __init__(self) -> None:
        self._address = os.environ.pop(ENVIRONMENT, "")

    def ready(self, status: str) -> None:
        """It serves, or serves again after `reloading`."""
        self._tell(f"READY=1\nSTATUS={status}")

    def reloading(self) -> None:
        """It reads its file again; `ready` ends that, whatever came of it."""
        microseconds = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._tell(f"RELOADING=1\nMONOTONIC_USEC={microseconds}")

    def stopping(self) -> None:
        """It cleans up."""
        self._tell("STOPPING=1\nSTATUS=cleaning up")

    def _tell(self, words: str) -> None:
        if not self._address:
            return
        # An abstract name has @ for its leading zero.
        address = f"\0{self._address[1:]}" if self._address.startswith("@") else self._address
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as voice:
            voice.setblocking(False)
            voice.sendto(words.encode(errors="surrogateescape"), address)
