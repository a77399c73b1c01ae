"""A virtual machine monitor made of Python: the client's side of vfio-user, with a guest's memory.

Its memory has two halves: the first is shared by a descriptor, the second can only be reached by messages.
Messages are put together here byte by byte, so that a test can also put together wrong ones.
"""

from __future__ import annotations

import array
import errno
import mmap
import os
import socket
import struct
from collections.abc import Sequence
from typing import Self

PATIENCE = 5.0
HALF = 1 << 16
SHARED, REMOTE = 0x10_0000, 0x20_0000

VERSION, DMA_MAP, DMA_UNMAP, GET_INFO, GET_REGION_INFO, GET_IRQ_INFO, SET_IRQS = 1, 2, 3, 4, 5, 7, 8
REGION_READ, REGION_WRITE, DMA_READ, DMA_WRITE, RESET, WRITE_MULTI = 9, 10, 11, 12, 13, 15
NO_REPLY, REPLY, ERROR = 0x10, 0x01, 0x21
CONFIG, ROM = 7, 6
INTX, MSIX = 0, 2
ENABLE, DISABLE, UNMASK = 0x24, 0x21, 0x11
HEADER = struct.Struct("=HHIII")


class Refused(Exception):
    """The server's answer is an error; `number` is its errno."""

    def __init__(self, number: int) -> None:
        super().__init__(errno.errorcode.get(number, str(number)))
        self.number = number


class Hangup(Exception):
    """The server has closed the connection."""


class Client:
    """The monitor."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        sock.settimeout(PATIENCE)
        self.memfd = os.memfd_create("guest")
        os.ftruncate(self.memfd, HALF)
        self.shared = mmap.mmap(self.memfd, HALF)
        self.remote = bytearray(HALF)
        self.refuse_dma = False
        # Messages of ours that go out while the server waits for an answer of ours.
        self.in_between: list[tuple[int, bytes]] = []
        self.between: list[bytes] = []
        self.event = os.eventfd(0, os.EFD_NONBLOCK)
        self._last = 0
        self._answers: dict[int, tuple[int, int, int, bytes]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Die, once."""
        if self.sock.fileno() < 0:
            return
        self.sock.close()
        self.shared.close()
        for fd in (self.memfd, self.event):
            os.close(fd)

    # Messages.

    def send(
        self,
        command: int,
        payload: bytes = b"",
        fds: Sequence[int] = (),
        *,
        flags: int = 0,
        size: int | None = None,
    ) -> int:
        """Send a request; returns its id. Raises Hangup."""
        self._last = self._last + 1 & 0x7FFF
        length = HEADER.size + len(payload) if size is None else size
        message = HEADER.pack(self._last, command, length, flags, 0) + payload
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        try:
            self.sock.sendmsg([message], ancillary)
        except BrokenPipeError:
            raise Hangup from None
        return self._last

    def ask(self, command: int, payload: bytes = b"", fds: Sequence[int] = ()) -> bytes:
        """Send a request and return its answer. Raises Refused, Hangup."""
        return self.answer(self.send(command, payload, fds), command)

    def answer(self, number: int, command: int) -> bytes:
        """The answer to a request; meanwhile the server's own are carried out."""
        while number not in self._answers:
            got, asked, flags, error, payload = self.receive()
            if flags & 0xF == 0:
                self._carry_out(got, asked, payload)
            else:
                self._answers[got] = (asked, flags, error, payload)
        asked, flags, error, payload = self._answers.pop(number)
        assert asked == command
        if flags == ERROR:
            raise Refused(error)
        assert flags == REPLY
        return payload

    def receive(self) -> tuple[int, int, int, int, bytes]:
        """The next message: id, command, flags, error, payload. Raises Hangup."""
        number, command, size, flags, error = HEADER.unpack(self._exactly(HEADER.size))
        return number, command, flags, error, self._exactly(size - HEADER.size)

    def _exactly(self, length: int) -> bytes:
        data = b""
        while len(data) < length:
            try:
                more = self.sock.recv(length - len(data))
            except ConnectionResetError:
                more = b""
            if not more:
                raise Hangup
            data += more
        return data

    def _carry_out(self, number: int, command: int, payload: bytes) -> None:
        for asked, extra in self.in_between:
            self.between.append(self.answer(self.send(asked, extra), asked))
        address, count = struct.unpack_from("=QQ", payload)
        start = address - REMOTE
        inside = 0 <= start <= HALF - count and not self.refuse_dma
        flags, error, answer = (REPLY, 0, payload[:16]) if inside else (ERROR, errno.EFAULT, b"")
        if inside and command == DMA_READ:
            answer += self.remote[start : start + count]
        elif inside:
            self.remote[start : start + count] = payload[16:]
        self.sock.sendall(HEADER.pack(number, command, HEADER.size + len(answer), flags, error) + answer)

    def hung_up(self) -> bool:
        """Wait until the server closes the connection."""
        try:
            while True:
                self.receive()
        except Hangup:
            return True

    # Requests.

    def start(self) -> None:
        """Say hello, tell of the memory, connect the pin, and make the card a bus master."""
        answer = self.ask(VERSION, struct.pack("=HH", 0, 0) + b'{"capabilities":{}}\0')
        assert answer.endswith(b"\0")
        self.map(SHARED, HALF, 3, self.memfd)
        self.map(REMOTE, HALF, 3)
        self.set_irqs(INTX, ENABLE, 0, 1, [self.event])
        self.write(CONFIG, 4, 2, 0x0007)

    def map(self, address: int, size: int, flags: int, fd: int | None = None, offset: int = 0) -> None:
        """Tell of a range of memory."""
        payload = struct.pack("=IIQQQ", 32, flags, offset, address, size)
        self.ask(DMA_MAP, payload, [] if fd is None else [fd])

    def unmap(self, address: int, size: int, flags: int = 0) -> None:
        """Take a range back."""
        payload = struct.pack("=IIQQ", 24, flags, address, size)
        assert self.ask(DMA_UNMAP, payload) == payload

    def set_irqs(
        self, index: int, flags: int, start: int = 0, count: int = 0, fds: Sequence[int] = ()
    ) -> None:
        """Connect, disconnect, mask or unmask interrupts."""
        self.ask(SET_IRQS, struct.pack("=IIIII", 20, flags, index, start, count), fds)

    def read(self, region: int, offset: int, size: int) -> int:
        """Read a region."""
        head = access(region, offset, size)
        answer = self.ask(REGION_READ, head)
        assert answer[:16] == head
        return int.from_bytes(answer[16:], "little")

    def write(self, region: int, offset: int, size: int, value: int) -> None:
        """Write a region."""
        head = access(region, offset, size)
        assert self.ask(REGION_WRITE, head + value.to_bytes(size, "little")) == head

    def interrupts(self) -> int:
        """How often the pin was asserted since the last call; 0 if not at all."""
        try:
            return os.eventfd_read(self.event)
        except BlockingIOError:
            return 0


def access(region: int, offset: int, size: int) -> bytes:
    """The beginning of a region access."""
    return struct.pack("=QII", offset, region, size)
