"""Waiting for descriptors in the event loop, so that a wait can be cancelled and loses nothing."""

from __future__ import annotations

import asyncio


async def readable(fd: int) -> None:
    """Wait until `fd` can be read: data, a connection, an end. Nobody else may wait for it meanwhile."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_reader(fd, resolve, ready)
    try:
        await ready
    finally:
        loop.remove_reader(fd)


def resolve(future: asyncio.Future[None]) -> None:
    """Resolve a future that may be resolved already."""
    if not future.done():
        future.set_result(None)
