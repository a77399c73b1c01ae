"""The packet worker seen from Python: a child process and the command protocol spoken to it.

The worker moves every packet; Python tells it what to move where. The two share one SOCK_SEQPACKET
socket pair (docs/protocol.md): Python writes requests, with descriptors beside them, and reads replies
and events. Nothing else joins them, so the state of that one socket is the state of the worker: end of
file means it is dead, whatever the reason, and closing our end makes it exit.
"""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import socket
from collections.abc import Callable, Sequence
from typing import Any

from wirebay.errors import HostError, OptionError, WirebayError, WorkerError
from wirebay.waiting import resolve
from wirebay.worker_host import Host, ProcessHost, ThreadHost

PROTOCOL_VERSION = 2
MAX_MESSAGE = 65536
# More than the limit: no reply is worth the network. The socket holds no longer message than about 208 KiB.
MAX_RECEIVED = 1 << 18
READY_TIMEOUT = 10.0
STOP_TIMEOUT = 2.0

logger = logging.getLogger("wirebay")

Event = dict[str, Any]


class Worker:
    """A running packet worker. Use `Worker.start()`; `close()` it when done.

    `pid` is its process. `died` resolves to one sentence if the worker goes without having been asked.
    """

    def __init__(self, control: socket.socket, host: Host) -> None:
        self._loop = asyncio.get_running_loop()
        self._control = control
        self._host = host
        self._ready: asyncio.Future[Event] = self._loop.create_future()
        self._gone: asyncio.Future[str] = self._loop.create_future()
        self._pending: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._handlers: list[Callable[[Event], None]] = []
        self._sending = asyncio.Lock()
        self._last_id = 0
        self._buffer = bytearray(MAX_RECEIVED)
        self._complaint = ""
        self._reaping: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None
        self.died: asyncio.Future[str] = self._loop.create_future()
        control.setblocking(False)
        self._loop.add_reader(control.fileno(), self._on_readable)

    @property
    def pid(self) -> int:
        """Process id of the worker."""
        return self._host.pid

    @classmethod
    async def start(cls) -> Worker:
        """Start the worker as a child process and wait until it is ready.

        Raises WorkerError when it dies, stays silent or speaks another version of the protocol.
        """
        return await cls._start(ProcessHost.around_core)

    @classmethod
    async def in_thread(cls) -> Worker:
        """The same loop in a thread of this process, unconfined; for tests."""
        return await cls._start(ThreadHost)

    @classmethod
    async def _start(cls, host: Callable[[socket.socket], Host]) -> Worker:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with theirs:
                running = host(theirs)
        except OSError as error:
            ours.close()
            raise HostError(f"the packet worker could not be started: {error.strerror}") from error
        except BaseException:
            ours.close()
            raise
        return await cls.over(ours, running)

    @classmethod
    async def over(cls, control: socket.socket, host: Host) -> Worker:
        """A worker that already runs at the other end of `control`; waits until it is ready.

        Takes over the socket and the host: both are closed when this fails. Raises WorkerError.
        """
        worker = cls(control, host)
        try:
            await worker._check_ready()
        except BaseException:
            worker._abandon()
            await asyncio.shield(worker._gone)
            raise
        return worker

    async def _check_ready(self) -> None:
        try:
            hello = await asyncio.wait_for(asyncio.shield(self._ready), READY_TIMEOUT)
        except TimeoutError:
            sentence = f"the packet worker (pid {self.pid}) did not start in {READY_TIMEOUT:g} s"
            raise WorkerError(sentence) from None
        if hello.get("version") != PROTOCOL_VERSION:
            raise WorkerError(
                f"the packet worker speaks version {hello.get('version')} of the protocol, "
                f"not {PROTOCOL_VERSION}: install wirebay and its extension module from the same build"
            )

    def on_event(self, handler: Callable[[Event], None]) -> None:
        """Call `handler` with every event (a dictionary with the member "event") from now on."""
        self._handlers.append(handler)

    async def call(self, cmd: str, /, *, fds: Sequence[int] = (), **members: object) -> dict[str, Any]:
        """Send the request `cmd` with `members`; returns the reply's `ok`.

        Copies of `fds` go to the worker; the caller keeps its own and closes them. Calls may overlap: the
        worker takes them in the order they were made. Raises OptionError or HostError as the worker says
        whose fault it was, WorkerError when the worker is gone.
        """
        if self._gone.done() or self._closing is not None:
            raise WorkerError(self._gone.result() if self._gone.done() else "the packet worker was stopped")
        return await self._request(cmd, fds, members)

    async def _request(self, cmd: str, fds: Sequence[int], members: dict[str, object]) -> dict[str, Any]:
        self._last_id += 1
        request = self._last_id
        data = json.dumps({"id": request, "cmd": cmd, **members}, separators=(",", ":")).encode()
        if len(data) > MAX_MESSAGE:
            raise WorkerError(f"the request '{cmd}' is too long for the packet worker ({len(data)} bytes)")
        reply: asyncio.Future[dict[str, Any]] = self._loop.create_future()
        self._pending[request] = reply
        try:
            async with self._sending:
                await self._send(data, fds)
            return await reply
        finally:
            self._pending.pop(request, None)

    async def _send(self, data: bytes, fds: Sequence[int]) -> None:
        while not self._gone.done() and self._control.fileno() >= 0:
            try:
                socket.send_fds(self._control, [data], fds) if fds else self._control.send(data)
            except BlockingIOError:
                await self._writable()
            except OSError as error:
                # A broken pair is seen by the reader too, which knows how the worker ended.
                if error.errno not in (errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN):
                    raise WorkerError(f"the packet worker could not be told: {error.strerror}") from error
                return
            else:
                return

    async def _writable(self) -> None:
        writable: asyncio.Future[None] = self._loop.create_future()
        self._loop.add_writer(self._control.fileno(), resolve, writable)
        try:
            await asyncio.wait((writable, self._gone), return_when=asyncio.FIRST_COMPLETED)
        finally:
            if self._control.fileno() >= 0:
                self._loop.remove_writer(self._control.fileno())

    def _on_readable(self) -> None:
        while self._control.fileno() >= 0:
            try:
                size = self._control.recv_into(self._buffer)
            except BlockingIOError:
                return
            except OSError:
                size = 0
            if not size:
                self._abandon()
            elif not self._take(self._buffer[:size]):
                self._complaint = "sent a message that is not understood"
                self._host.kill()
                self._abandon()

    def _take(self, data: bytearray) -> bool:
        """Act on one message; False when it is none of the protocol's."""
        try:
            message = json.loads(data)
        except ValueError:
            return False
        if not isinstance(message, dict):
            return False
        if "event" in message:
            self._take_event(message)
            return True
        return self._take_reply(message)

    def _take_event(self, event: Event) -> None:
        if event["event"] == "ready" and not self._ready.done():
            self._ready.set_result(event)
        for handler in self._handlers:
            try:
                handler(event)
            except Exception:
                logger.exception("an event of the packet worker was not handled: %s", event)

    def _take_reply(self, message: dict[str, Any]) -> bool:
        outcome: WirebayError | None = None
        match message:
            case {"id": int() as request, "ok": dict() as result}:
                pass
            case {"id": int() as request, "error": {"fault": str() as fault, "message": str() as sentence}}:
                outcome, result = (OptionError if fault == "option" else HostError)(sentence), {}
            case _:
                return False
        # No future: whoever asked was cancelled before the answer came.
        reply = self._pending.pop(request, None)
        if reply is None or reply.done():
            return True
        if outcome is None:
            reply.set_result(result)
        else:
            reply.set_exception(outcome)
        return True

    def _abandon(self) -> None:
        """Our end goes: the worker exits by itself when it sees that. Then find out how it ended."""
        if self._control.fileno() < 0:
            return
        self._loop.remove_reader(self._control.fileno())
        self._loop.remove_writer(self._control.fileno())
        self._control.close()
        self._reaping = self._loop.create_task(self._reap())

    async def _reap(self) -> None:
        try:
            how = await asyncio.wait_for(self._host.ended(), STOP_TIMEOUT)
        except TimeoutError:
            how = "closed its control socket and did not end"
        finally:
            self._host.kill()
        self._bury(f"the packet worker (pid {self.pid}) {self._complaint or how}; the network is down")

    def _bury(self, sentence: str) -> None:
        self._gone.set_result(sentence)
        if self._closing is None:
            self.died.set_result(sentence)
        for waiting in (self._ready, *self._pending.values()):
            if not waiting.done():
                waiting.set_exception(WorkerError(sentence))
        if self._ready.done():
            self._ready.exception()  # marks it as seen: nobody may be waiting

    async def close(self) -> None:
        """Ask the worker to stop, wait up to 2 s, kill it; nothing of it is left. May be called again."""
        if self._closing is None:
            self._closing = self._loop.create_task(self._stop())
        await asyncio.shield(self._closing)

    async def _stop(self) -> None:
        try:
            if not self._gone.done():
                await self._ask_to_stop()
                self._abandon()
                await asyncio.shield(self._gone)
        finally:
            self._host.kill()

    async def _ask_to_stop(self) -> None:
        try:
            await asyncio.wait_for(self._request("stop", (), {}), STOP_TIMEOUT)
        except TimeoutError:
            self._host.kill()
        except WirebayError:
            pass  # it has gone meanwhile
