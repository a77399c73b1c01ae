"""Undoing a set-up: every step runs, last first, whatever happens to the others."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable

Step = Callable[[], Awaitable[object] | object]


class Teardown:
    """The steps that undo what was set up so far; add one right after each thing that needs undoing."""

    def __init__(self) -> None:
        self._steps: list[Step] = []

    def add(self, step: Step) -> None:
        """Add a step: a function without arguments, plain or async."""
        self._steps.append(step)

    async def run(self) -> list[Exception]:
        """Run and forget all steps, the newest first; returns the errors of those that failed."""
        errors: list[Exception] = []
        while self._steps:
            try:
                outcome = self._steps.pop()()
                if inspect.isawaitable(outcome):
                    await outcome
            except Exception as error:
                errors.append(error)
        return errors
