"""filter-dump: a capture to a file.

Python opens the file and hands it over; the worker writes. When a file has reached its size the worker asks
for the next one: the full file becomes FILE.1, the one before FILE.2 and so on, and FILE is made anew. Beside
the file goes one end of a pipe, which the worker holds until the last byte is written: that is how `close`
knows that the capture is complete.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wirebay.errors import HostError, WirebayError
from wirebay.filters.base import Filter
from wirebay.waiting import resolve

if TYPE_CHECKING:
    from wirebay.network import Network
    from wirebay.options.objects import DumpOptions
    from wirebay.ports import Port

logger = logging.getLogger("wirebay")

# Seconds to wait for a slow disk before the rest of a capture is left to itself.
PATIENCE = 5.0
# Without waiting for a reader of a pipe: there is none, or there is one.
FLAGS = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NONBLOCK


class DumpFilter(Filter):
    """A capture; `failed` resolves to one sentence if the file cannot be written any more."""

    kind = "filter-dump"

    def __init__(self, network: Network, options: DumpOptions, port: Port) -> None:
        super().__init__(network, options, port)
        self.options = options
        self.failed: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._full: asyncio.Queue[None] = asyncio.Queue()

    async def open(self, place: int) -> None:
        """Open the file and begin. Raises HostError when it cannot be opened."""
        options = self.options
        done, held = os.pipe()
        file = -1
        try:
            file = open_file(options.file)
            capture = {"format": options.format, "maxlen": options.maxlen, "limit": options.max_size}
            await self._add_to_worker(place, {"dump": capture}, [file, held])
        except BaseException:
            os.close(done)
            raise
        finally:
            os.close(held)
            if file >= 0:
                os.close(file)
        # Undone last: everything else about the capture is over then.
        self._teardown.add(lambda: written(done, options.file))
        if options.max_size is not None:
            self._run("rotating the files", self._rotate_for_ever)

    def on_event(self, event: dict[str, Any]) -> None:
        """`filter_full`: the next file is due. `filter_failed`: nothing can be written any more."""
        if event["event"] == "filter_full":
            self._full.put_nowait(None)
        elif event["event"] == "filter_failed":
            self._fail(str(event.get("reason")))

    def _fail(self, reason: str) -> None:
        sentence = f"filter '{self.id}' writes no more to '{self.options.file}': {reason}"
        logger.warning("%s", sentence)
        if not self.failed.done():
            self.failed.set_result(sentence)

    async def discard(self) -> list[Exception]:
        """Like `close()`, with the errors returned."""
        if self._in_worker and self.options.max_size is not None:
            with contextlib.suppress(WirebayError, TimeoutError):
                await self._finish_rotating()
        return await super().discard()

    async def _finish_rotating(self) -> None:
        """Serve every file that was asked for: what is captured waits for them."""
        await self.set_status(False)
        # What the worker asked for before it answers this has arrived with it.
        await self.network.worker.call("filter_stats", filters=[self.id])
        await asyncio.wait_for(self._full.join(), PATIENCE)

    async def _rotate_for_ever(self) -> None:
        while True:
            await self._full.get()
            try:
                await self._rotate()
            except (OSError, HostError) as error:
                self._fail(str(error))
            finally:
                self._full.task_done()

    async def _rotate(self) -> None:
        await asyncio.to_thread(rotate, Path(self.options.file), self.options.files)
        file = open_file(self.options.file)
        try:
            await self.network.worker.call("filter_rotate", filter=self.id, fds=[file])
        finally:
            os.close(file)


def open_file(path: str) -> int:
    """A descriptor to write a capture to. Raises HostError."""
    try:
        return os.open(path, FLAGS, 0o644)
    except (OSError, ValueError) as error:
        raise HostError(f"Could not open '{path}': {getattr(error, 'strerror', error)}") from error


def rotate(path: Path, files: int) -> None:
    """Make room for a new file: of `files` in all, the newest old one is PATH.1. Raises OSError."""
    names = [path, *(path.with_name(f"{path.name}.{number}") for number in range(1, files))]
    with contextlib.suppress(FileNotFoundError):
        names[-1].unlink()
    for older, newer in zip(reversed(names), reversed(names[:-1]), strict=False):
        with contextlib.suppress(FileNotFoundError):
            newer.rename(older)


async def written(done: int, path: str) -> None:
    """Wait until the other end of the pipe `done` is closed everywhere. Raises HostError after a while."""
    loop = asyncio.get_running_loop()
    closed: asyncio.Future[None] = loop.create_future()
    loop.add_reader(done, resolve, closed)
    try:
        await asyncio.wait_for(closed, PATIENCE)
    except TimeoutError:
        raise HostError(f"the capture '{path}' was not written in {PATIENCE:g} s") from None
    finally:
        loop.remove_reader(done)
        os.close(done)
