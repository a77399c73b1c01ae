"""Tasks that run beside everything else until what they belong to closes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from wirebay.errors import WorkerError
from wirebay.teardown import Teardown

__all__ = ["cancel", "run_until_closed"]

logger = logging.getLogger("wirebay")

Work = Callable[..., Awaitable[None]]


def run_until_closed(teardown: Teardown, title: str, work: Work, *arguments: object) -> None:
    """Run `work` until `teardown` runs; if it fails, things go on without it and the log says `title`."""
    task = asyncio.get_running_loop().create_task(_watched(title, work, arguments))
    teardown.add(lambda: cancel(task))


async def cancel(task: asyncio.Task[None]) -> None:
    """Cancel `task` and wait until it is over."""
    task.cancel()
    await asyncio.wait((task,))


async def _watched(title: str, work: Work, arguments: Sequence[object]) -> None:
    try:
        await work(*arguments)
    except WorkerError:
        pass  # the network is down, and says so itself
    except Exception:
        logger.exception("%s ended", title)
