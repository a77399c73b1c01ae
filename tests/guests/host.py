"""What guests talk to on the host, each server on a free port of 127.0.0.1, and the host as a client."""

from __future__ import annotations

import hashlib
import random
import socket
import socketserver
import threading
import time
from dataclasses import dataclass, field
from functools import cache
from types import TracebackType
from typing import Self

LOOPBACK = "127.0.0.1"
CHUNK = 1 << 20


@cache
def payload(size: int, seed: int = 1) -> bytes:
    """`size` random bytes, the same on every call: no part of them equals another."""
    return random.Random(seed).randbytes(size)


def digest(data: bytes | bytearray | memoryview) -> str:
    """SHA-256 in hexadecimal, as sha256sum prints it."""
    return hashlib.sha256(data).hexdigest()


@dataclass
class Received:
    """What one client sent, whom it seemed to be, and from when to when (time.monotonic)."""

    data: bytearray = field(default_factory=bytearray)
    peer: tuple[str, int] = ("", 0)
    started: float = field(default_factory=time.monotonic)
    finished: float = 0.0


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 128
    blob: bytes
    received: list[Received]


class _Send(socketserver.BaseRequestHandler):
    server: _Server

    def handle(self) -> None:
        self.request.sendall(self.server.blob)
        self.request.shutdown(socket.SHUT_WR)
        while self.request.recv(CHUNK):
            pass


class _Receive(socketserver.BaseRequestHandler):
    server: _Server

    def handle(self) -> None:
        got = Received(peer=self.client_address)
        buffer = bytearray(CHUNK)
        while size := self.request.recv_into(buffer):
            got.data += memoryview(buffer)[:size]
        got.finished = time.monotonic()
        self.server.received.append(got)


class HostServers:
    """Two TCP servers: `download` sends a payload and waits for the client to close, `upload` keeps all."""

    def __init__(self, blob: bytes) -> None:
        self._servers = [_Server((LOOPBACK, 0), handler) for handler in (_Send, _Receive)]
        self.received: list[Received] = []
        for server in self._servers:
            server.blob, server.received = blob, self.received
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        self.download, self.upload = (server.server_address[1] for server in self._servers)

    def uploaded(self, timeout: float = 10.0) -> Received:
        """The next upload that is complete; raises TimeoutError."""
        end = time.monotonic() + timeout
        while not self.received:
            if time.monotonic() > end:
                raise TimeoutError("the host's server got no upload")
            time.sleep(0.005)
        return self.received.pop(0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()


def free_port() -> int:
    """A TCP port of 127.0.0.1 that was free a moment ago, for programs that must be told one."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def exchange(port: int, data: bytes, timeout: float = 15.0, *, address: str = LOOPBACK) -> bytes:
    """Send `data` to `port` of `address`, close that direction, and return all that comes back.

    Tries again for `timeout` seconds while nothing comes: behind a forward, the guest may not listen yet.
    """
    end = time.monotonic() + timeout
    while True:
        try:
            if answer := _exchange_once((address, port), data, max(0.1, end - time.monotonic())):
                return answer
        except OSError:
            if time.monotonic() > end:
                raise
        if time.monotonic() > end:
            raise TimeoutError(f"nothing came back from port {port}")
        time.sleep(0.05)


def _exchange_once(server: tuple[str, int], data: bytes, timeout: float) -> bytes:
    with socket.create_connection(server, timeout=timeout) as connection:
        sender = threading.Thread(target=_send_all, args=(connection, data), daemon=True)
        sender.start()
        answer = bytearray()
        while part := connection.recv(CHUNK):
            answer += part
        sender.join(timeout)
        return bytes(answer)


def _send_all(connection: socket.socket, data: bytes) -> None:
    try:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
    except OSError:
        return  # the receiving side sees the same end
