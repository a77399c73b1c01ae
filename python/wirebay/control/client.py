"""A plain client of the control socket, for commands that ask and leave: it blocks, without an event loop."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from wirebay.errors import HostError

__all__ = ["Client", "RefusedError"]

PATIENCE = 75.0  # seconds; more than the slowest command may take


class RefusedError(HostError):
    """A command was refused. `kind` is QMP's class of the error, the text its sentence."""

    def __init__(self, kind: str, sentence: str) -> None:
        super().__init__(sentence)
        self.kind = kind


class Client:
    """A connection that has negotiated; a context manager. Raises HostError where nobody speaks QMP."""

    def __init__(self, path: Path | str) -> None:
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(PATIENCE)
        self._lines = self._socket.makefile("rb")
        self._events: list[dict[str, Any]] = []
        try:
            self._socket.connect(str(path))
            self._greet()
        except OSError as error:
            self.close()
            raise HostError(f"no wirebay can be reached at '{path}': {error.strerror or error}") from error
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the connection."""
        self._lines.close()
        self._socket.close()

    def _greet(self) -> None:
        greeting = self._receive()
        if "error" in greeting:
            raise refusal(greeting)
        if "QMP" not in greeting:
            raise HostError(f"what listens at '{self._path}' does not speak QMP")
        self.execute("qmp_capabilities")

    def execute(self, command: str, **arguments: object) -> Any:
        """Carry out a command; arguments that are None are left out, `_` stands for `-`. Returns its result.

        Raises RefusedError with the server's sentence, HostError when the connection ends.
        """
        given = {name.replace("_", "-"): value for name, value in arguments.items() if value is not None}
        return self.request({"execute": command, **({"arguments": given} if given else {})})

    def request(self, message: dict[str, Any]) -> Any:
        """The same for a request that is put together already."""
        try:
            self._socket.sendall(json.dumps(message).encode() + b"\n")
        except OSError as error:
            raise self._ended() from error
        while "event" in (reply := self._receive()):
            self._events.append(reply)
        if "error" in reply:
            raise refusal(reply)
        return reply.get("return")

    def events(self) -> Iterator[dict[str, Any]]:
        """Every event since the connection, as it comes, until the other side ends."""
        yield from self._events
        self._socket.settimeout(None)
        with contextlib.suppress(ConnectionError):
            for line in self._lines:
                yield self._read(line)

    def _receive(self) -> dict[str, Any]:
        try:
            line = self._lines.readline()
        except TimeoutError:
            raise HostError(f"the wirebay at '{self._path}' does not answer") from None
        except OSError as error:
            raise self._ended() from error
        if not line:
            raise self._ended()
        return self._read(line)

    def _read(self, line: bytes) -> dict[str, Any]:
        try:
            message = json.loads(line)
        except ValueError:
            message = None
        if not isinstance(message, dict):
            raise HostError(f"what listens at '{self._path}' does not speak QMP")
        return message

    def _ended(self) -> HostError:
        return HostError(f"the wirebay at '{self._path}' ended the connection")


def refusal(reply: dict[str, Any]) -> RefusedError:
    """What to raise for an error reply."""
    error = reply["error"]
    return RefusedError(str(error.get("class")), str(error.get("desc")))
