"""A worker for tests: it speaks the command protocol on the test's own loop and moves no packets."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import Callable
from typing import Any

from wirebay.worker import Worker

Request = dict[str, Any]


class FakeWorker:
    """Answers every request with `{}`, unless `answers` has a function for its name or `silent` the name.

    `requests` are the requests so far, without their ids; `fds` the descriptors that came with each.
    It is its own host: `ending` is what `ended()` tells.
    """

    pid = 4242

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.fds: list[list[int]] = []
        self.answers: dict[str, Callable[[Request], dict[str, Any]]] = {}
        self.silent: set[str] = set()
        self.ending = "exited with status 3"
        self.killed = False
        self._ended = asyncio.Event()
        self._waiting: list[tuple[str, int, asyncio.Future[Request]]] = []
        self._ours, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._theirs.setblocking(False)
        asyncio.get_running_loop().add_reader(self._theirs.fileno(), self._on_readable)

    async def start(self, *, version: int = 2) -> Worker:
        """Say that it is ready; the worker as Python sees it."""
        self.send({"event": "ready", "version": version, "pid": self.pid})
        return await Worker.over(self._ours, self)

    async def start_silently(self) -> Worker:
        """The same, without a word."""
        return await Worker.over(self._ours, self)

    def send(self, message: object) -> None:
        """Send a message as it is: bytes, or anything that JSON has."""
        self._theirs.send(message if isinstance(message, bytes) else json.dumps(message).encode())

    def exit(self) -> None:
        """End as a process does: the socket closes."""
        if self._theirs.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self._theirs.fileno())
            self._theirs.close()
        self._ended.set()

    async def ended(self) -> str:
        await self._ended.wait()
        return self.ending

    def kill(self) -> None:
        self.killed = self.killed or not self._ended.is_set()
        self.exit()
        self.drop_fds()

    def drop_fds(self) -> None:
        """Close the descriptors that came so far."""
        for fds in self.fds:
            while fds:
                os.close(fds.pop())

    def sent(self, *names: str) -> list[Request]:
        """The requests with these names so far."""
        return [request for request in self.requests if request["cmd"] in names]

    async def asked(self, name: str, times: int = 1) -> Request:
        """Wait until this has been requested so often; returns the last of them."""
        waiting: asyncio.Future[Request] = asyncio.get_running_loop().create_future()
        self._waiting.append((name, times, waiting))
        self._resolve_waiting()
        return await asyncio.wait_for(waiting, 10)

    def _resolve_waiting(self) -> None:
        for name, times, waiting in self._waiting:
            if len(found := self.sent(name)) >= times and not waiting.done():
                waiting.set_result(found[times - 1])

    def fds_of(self, request: Request) -> list[int]:
        """The descriptors that came with a request."""
        return self.fds[[seen is request for seen in self.requests].index(True)]

    def _on_readable(self) -> None:
        data, fds, _, _ = socket.recv_fds(self._theirs, 65536, 16)
        if not data:
            self.exit()
            return
        request = json.loads(data)
        number = request.pop("id")
        self.requests.append(request)
        self.fds.append(fds)
        self._resolve_waiting()
        if request["cmd"] not in self.silent:
            answer = self.answers.get(request["cmd"], done)
            self.send({"id": number, **answer(request)})
        if request["cmd"] == "stop" and "stop" not in self.silent:
            self.ending = "exited with status 0"
            self.exit()


def done(_: Request) -> dict[str, Any]:
    """The answer to a command that was done."""
    return {"ok": {}}


def refusal(fault: str, message: str) -> Callable[[Request], dict[str, Any]]:
    """An answer that refuses."""
    return lambda _: {"error": {"fault": fault, "message": message}}
