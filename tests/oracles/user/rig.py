"""A user network and nothing else, by QEMU or by Wirebay: the same words for both, and frames in and out.

QEMU's is a machine without anything (`-M none`), its user network joined by a hub to a stream socket.
"""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.guests.console import tied
from tests.guests.processes import WIREBAY
from tests.oracles.user.host import Host
from tests.support import require_tool

BARE = ("-M", "none", "-nodefaults", "-display", "none", "-monitor", "none", "-serial", "none")
STOP_SECONDS = 10.0


class Wire:
    """The far end of a stream port: one frame behind its length after another."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._buffer = b""

    def send(self, frame: bytes) -> None:
        self._socket.sendall(struct.pack("!I", len(frame)) + frame)

    def receive(self, end: float) -> bytes | None:
        """The next frame; None when there is none until `end` (time.monotonic). Raises EOFError."""
        while True:
            if len(self._buffer) >= 4:
                size = 4 + int.from_bytes(self._buffer[:4], "big")
                if len(self._buffer) >= size:
                    frame, self._buffer = self._buffer[4:size], self._buffer[size:]
                    return frame
            self._socket.settimeout(max(0.001, end - time.monotonic()))
            try:
                data = self._socket.recv(1 << 17)
            except TimeoutError:
                return None
            if not data:
                raise EOFError("the network under test has gone")
            self._buffer += data


def netdevs(options: str, fd: int) -> list[str]:
    """A user network with these options and a stream socket, on one hub."""
    words = []
    for netdev in (
        ",".join(filter(None, ("user,id=u0", options))),
        f"stream,id=s0,addr.type=fd,addr.str={fd}",
        "hubport,id=h0,hubid=1,netdev=u0",
        "hubport,id=h1,hubid=1,netdev=s0",
    ):
        words += ["-netdev", netdev]
    return words


@contextmanager
def qemu(options: str, host: Host) -> Iterator[Wire]:
    """QEMU's network on `host`. It reads the first frame when it has made everything."""
    program = [require_tool("qemu-system-x86_64", "qemu-system-x86"), *BARE]
    with running(program, options, host) as wire:
        yield wire


@contextmanager
def wirebay(options: str, host: Host) -> Iterator[Wire]:
    """Ours on `host`, up: until its ports are joined, frames go nowhere."""
    ready, told = os.pipe()
    program = [*WIREBAY, "serve", "--ready-fd", str(told)]
    try:
        with running(program, options, host, told) as wire:
            os.close(told)
            told = -1
            if os.read(ready, 1) != b"1":
                raise EOFError
            yield wire
    finally:
        os.close(ready)
        if told >= 0:
            os.close(told)


@contextmanager
def running(program: list[str], options: str, host: Host, *keep: int) -> Iterator[Wire]:
    """The program with such a network; raises AssertionError with what it said when it ends."""
    ours, theirs = socket.socketpair()
    command = tied([*host.into, *program, *netdevs(options, theirs.fileno())])
    with (
        ours,
        subprocess.Popen(
            command,
            pass_fds=[theirs.fileno(), *keep],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        ) as process,
    ):
        theirs.close()
        try:
            yield Wire(ours)
        except (EOFError, ConnectionError) as error:
            said = process.communicate(timeout=STOP_SECONDS)[1]
            raise AssertionError(f"{program[0]} ended: {said}") from error
        finally:
            process.terminate()
            try:
                process.communicate(timeout=STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
