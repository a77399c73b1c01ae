"""The log of a command that runs for long: one line for each message, and no storms.

What a peer or a guest can bring about as often as it likes must not fill a disk. So each place in the program
that logs may do so BURST times in a PERIOD; then it is silent until the period is over, and the next message
tells how many were left out.
"""

from __future__ import annotations

import logging

from wirebay.errors import OptionError

__all__ = ["LEVELS", "start_log"]

LEVELS = ("error", "warning", "info", "debug")
BURST = 10
PERIOD = 60.0  # seconds


class OneLine(logging.Formatter):
    """Messages on one line, tracebacks too."""

    def format(self, record: logging.LogRecord) -> str:
        """The line; what would break it, or steer a terminal, is shown as what it is."""
        lines = super().format(record).splitlines()
        text = " | ".join(line.strip() for line in lines if line.strip())
        return "".join(sign if sign.isprintable() else "?" for sign in text)


class NoStorms(logging.Filter):
    """Lets BURST messages of a place through in a PERIOD. Time is that of the records."""

    def __init__(self) -> None:
        super().__init__()
        self._places: dict[tuple[str, int], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether this one is let through; it is told in it how many before were not."""
        place = (record.pathname, record.lineno)
        since, count = self._places.get(place, (record.created, 0))
        if record.created - since >= PERIOD:
            if count > BURST:
                record.msg = f"{record.getMessage()} ({count - BURST} more like this were left out)"
                record.args = ()
            since, count = record.created, 0
        self._places[place] = (since, count + 1)
        return count < BURST


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
