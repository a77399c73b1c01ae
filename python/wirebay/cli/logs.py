"""The log of a command that runs for long: one line for each message, and no storms.

What a peer or a guest can bring about as often as it likes must not fill a disk. So each place in the program
that logs may do so BURST times in a PERIOD about one thing; then it is silent until the period is over, and
the next message tells how many were left out.
"""

from __future__ import annotations

import logging
from collections.abc import Hashable

from wirebay.errors import OptionError

__all__ = ["LEVELS", "start_log"]

LEVELS = ("error", "warning", "info", "debug")
BURST = 10
PERIOD = 60.0  # seconds
MOST = 1024  # things that are told apart; then all others at a place are one


class OneLine(logging.Formatter):
    """Messages on one line, tracebacks too."""

    def format(self, record: logging.LogRecord) -> str:
        """The line; what would break it, or steer a terminal, is shown as what it is."""
        lines = super().format(record).splitlines()
        text = " | ".join(line.strip() for line in lines if line.strip())
        return "".join(sign if sign.isprintable() else "?" for sign in text)


class NoStorms(logging.Filter):
    """Lets BURST messages of a place about a thing through in a PERIOD. Time is that of the records."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: dict[Hashable, tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether this one is let through; it is told in it how many before were not."""
        subject = self._subject(record)
        since, count = self._seen.get(subject, (record.created, 0))
        if record.created - since >= PERIOD:
            if count > BURST:
                record.msg = f"{record.getMessage()} ({count - BURST} more like this were left out)"
                record.args = ()
            since, count = record.created, 0
        self._seen[subject] = (since, count + 1)
        return count < BURST

    def _subject(self, record: logging.LogRecord) -> Hashable:
        """The place, and the thing: messages name that first, as "stream port 'vm0'"."""
        place = (record.pathname, record.lineno)
        named = (*place, *map(str, record.args[:2])) if isinstance(record.args, tuple) else place
        return named if named in self._seen or len(self._seen) < MOST else place


def start_log(level: str | None) -> None:
    """Log to standard error from this level on (default: info); may be called again to change it."""
    if level is not None and level not in LEVELS:
        raise OptionError(f"--log-level expects one of {', '.join(LEVELS)}, not '{level}'")
    root = logging.getLogger()
    if not any(isinstance(handler.formatter, OneLine) for handler in root.handlers):
        handler = logging.StreamHandler()
        handler.setFormatter(OneLine("wirebay: %(message)s"))
        handler.addFilter(NoStorms())
        root.addHandler(handler)
    root.setLevel((level or "info").upper())
