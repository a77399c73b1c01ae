"""Events that follow each other fast, thinned: at most one a second of a kind about a thing, the newest.

As in QEMU: the first goes out at once, and what comes within PERIOD seconds of one that went out waits for
the end of them; of several that wait only the newest is sent. The machine is pure, `now` is any clock that
does not go back.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

__all__ = ["MOST", "PERIOD", "Throttle"]

PERIOD = 1.0  # seconds, as QEMU's
MOST = 1024  # things at a time; guests name some of them

Event = TypeVar("Event")


@dataclass(slots=True)
class _Turn(Generic[Event]):
    """Until when nothing goes out, and what waits for that."""

    until: float
    waiting: Event | None = None


class Throttle(Generic[Event]):
    """`offer` events, send those for which it says so, and those that are `due` at `deadline`."""

    def __init__(self) -> None:
        self._turns: dict[Hashable, _Turn[Event]] = {}

    def offer(self, key: Hashable, event: Event, now: float) -> bool:
        """Whether to send the event now; it waits otherwise, or is lost if too much waits already."""
        turn = self._turns.pop(key, None)
        if turn is not None:
            turn.waiting = event
            self._turns[key] = turn  # behind the others: what is sent later has happened later
            return False
        if len(self._turns) >= MOST:
            return False
        self._turns[key] = _Turn(now + PERIOD)
        return True

    def due(self, now: float) -> list[Event]:
        """What has waited long enough, in the order in which it was offered."""
        ready: list[Event] = []
        for key, turn in list(self._turns.items()):
            if turn.until > now:
                continue
            if turn.waiting is None:
                del self._turns[key]
            else:
                ready.append(turn.waiting)
                self._turns[key] = _Turn(now + PERIOD)
        return ready

    def deadline(self) -> float | None:
        """When to ask `due` next; None while nothing is going on."""
        return min((turn.until for turn in self._turns.values()), default=None)
