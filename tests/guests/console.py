"""What a guest prints, as lines a test waits for: a program of any kind, run to its end.

What a guest says to the host are lines that start with "@": a word, perhaps a name, then KEY=VALUE pairs.
"""

from __future__ import annotations

import queue
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

# What a virtual machine's firmware sends to its terminal before the kernel's first line.
ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[@-_a-z])")
PATIENCE = 60.0
STOP_SECONDS = 5.0


def tied(command: Sequence[str]) -> list[str]:
    """The command, ended by the kernel (SIGTERM) if we are killed; as it is where setpriv is missing."""
    tie = ["setpriv", "--pdeathsig", "TERM", "--"] if shutil.which("setpriv") else []
    return [*tie, *command]


class GuestError(AssertionError):
    """The guest did not do what was expected of it; the text ends with its last lines."""


def fields(line: str) -> dict[str, str]:
    """The KEY=VALUE pairs of a line; a value goes on to the next key, so it may hold blanks.

    The first word is found under "word", a second one without "=" under "name".
    """
    word, *rest = line.split()
    values = {"word": word}
    if rest and "=" not in rest[0]:
        values["name"] = rest.pop(0)
    key = ""
    for item in rest:
        left, equals, right = item.partition("=")
        if equals and left.isidentifier():
            key = left
            values[key] = right
        elif key:
            values[key] += f" {item}"
    return values


class Console:
    """A running program: its output as lines, and its end. As a context it is ended on the way out."""

    def __init__(self, command: Sequence[str], *, cwd: Path | None = None) -> None:
        self.lines: list[str] = []
        self._queue: queue.Queue[str | None] = queue.Queue()
        self.process = subprocess.Popen(
            tied(command), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=cwd
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def line(self, start: str, timeout: float = PATIENCE) -> str:
        """The next line that starts with `start`; raises GuestError when none came in `timeout` seconds."""
        end = time.monotonic() + timeout
        while True:
            try:
                text = self._queue.get(timeout=max(0.0, end - time.monotonic()))
            except queue.Empty:
                raise self.error(f"No line '{start}' within {timeout:.0f} s") from None
            if text is None:
                self._queue.put(None)
                raise self.error(f"It ended without a line '{start}'")
            if text.startswith(start):
                return text

    def fields(self, start: str, timeout: float = PATIENCE) -> dict[str, str]:
        """The next line that starts with `start`, taken apart by `fields`."""
        return fields(self.line(start, timeout))

    def finish(self, timeout: float = PATIENCE) -> int:
        """Wait until the program has ended; returns its exit status."""
        try:
            status = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise self.error(f"It still runs after {timeout:.0f} s") from None
        self._reader.join(timeout)
        return status

    def close(self) -> None:
        """End the program if it still runs; politely first, since it may have something to clean up."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._reader.join(STOP_SECONDS)

    def error(self, sentence: str) -> GuestError:
        """An error to raise, with the last lines."""
        return GuestError("\n  ".join([f"{sentence}; its last lines:", *self.lines[-25:]]))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as output:
            for raw in output:
                text = ESCAPES.sub("", raw.decode(errors="replace")).strip()
                self.lines.append(text)
                self._queue.put(text)
        self._queue.put(None)
