"""From one list of rules to another, with those that are in both left alone."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TypeVar

from wirebay.errors import OptionError, WirebayError
from wirebay.teardown import Teardown

__all__ = ["change_rules"]

Rule = TypeVar("Rule")

logger = logging.getLogger("wirebay")


async def change_rules(
    old: Sequence[Rule],
    new: Sequence[Rule],
    open_rule: Callable[[Rule], Awaitable[object]],
    close_rule: Callable[[Rule], Awaitable[object]],
) -> None:
    """Close the rules that are in `old` alone, then open those that are in `new` alone.

    Of the old ones some may be closed already. When a new one cannot be opened, what was done is undone and
    the error raised.
    """
    journal = Teardown()
    try:
        for rule in old:
            if rule not in new:
                with contextlib.suppress(OptionError):  # closed by somebody else
                    await close_rule(rule)
                    journal.add(partial(open_rule, rule))
        for rule in new:
            if rule not in old:
                await open_rule(rule)
                journal.add(partial(close_rule, rule))
    except WirebayError:
        for problem in await journal.run():
            logger.warning("a rule could not be brought back: %s", problem)
        raise
