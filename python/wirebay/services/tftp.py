"""The TFTP server of a user network: read-only, below one directory (QEMU's option `tftp=`).

Theory of operation
===================

`TftpServer` is a machine: datagrams and the time go in, datagrams come out. It keeps one `Session` (see
tftp_session.py) for each client's address and port. A request opens the file and makes one; what comes later
from the same address and port belongs to it; `expire` sends again what was not acknowledged. `serve_tftp`
puts it on the service channel.

Answers come from port 69, as QEMU's do, instead of a port for each transfer (RFC 1350 section 4): the worker
brings us one port, and a client's own port tells its transfers apart as well.

Bounds: 20 sessions for each guest (MAC address), as QEMU has for its one guest, and 256 in all. Where that is
not enough the session that was silent longest gives way if it was silent for five seconds, else the request
is dropped, and the client asks again. A session holds a window of at most 256 KiB.

Beyond QEMU: netascii, block sizes up to the MTU, `timeout`, `windowsize`, retransmission, symbolic links
inside the directory, and an answer to write requests.
"""

from __future__ import annotations

import asyncio
import errno
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from wirebay.options.types import Address
from wirebay.services.channel import Datagram, ServiceChannel
from wirebay.services.tftp_files import Source, open_beneath
from wirebay.services.tftp_message import Code, Error, Packet, Request, TftpError, decode, encode
from wirebay.services.tftp_options import BadOptionError, agree
from wirebay.services.tftp_session import TIMEOUT, Session

__all__ = ["PORT", "TftpServer", "files_below", "serve_tftp"]

PORT = 69
MAX_SESSIONS = 256
MAX_SESSIONS_OF_GUEST = 20
IDLE = 5.0  # seconds of silence after which a session may be taken away, QEMU's
_HEADERS = {4: 28, 6: 48}  # IP and UDP

Key = tuple[bytes, Address, int]
OpenFile = Callable[[bytes], int]


@dataclass(slots=True)
class _Transfer:
    """A session and what belongs to it: the datagram that began it, and when its client last spoke."""

    session: Session
    source: Source
    request: Datagram
    heard: float

    def answers(self, packets: Iterable[Packet]) -> list[Datagram]:
        return [self.request.answer(encode(packet)) for packet in packets]


class TftpServer:
    """The machine. `open_file(name)` gives a descriptor as `open_beneath` does, `mtu` is the network's.

    `drops` counts, by reason, the datagrams that were not answered. `close()` ends all transfers.
    """

    def __init__(self, open_file: OpenFile, mtu: int) -> None:
        self.drops: Counter[str] = Counter()
        self._open = open_file
        self._mtu = mtu
        self._transfers: dict[Key, _Transfer] = {}  # the one that was silent longest comes first

    @property
    def deadline(self) -> float | None:
        """When `expire` has something to do, in seconds on the clock of `now`; None while nothing waits."""
        return min((transfer.session.deadline for transfer in self._transfers.values()), default=None)

    def handle(self, datagram: Datagram, now: float) -> list[Datagram]:
        """Answer one datagram of a guest. Any bytes are taken, none raise."""
        try:
            packet = decode(datagram.payload)
        except TftpError:
            return self._drop("malformed")
        key = (datagram.mac, datagram.source, datagram.source_port)
        if isinstance(packet, Request):
            return self._request(key, packet, datagram, now)
        transfer = self._transfers.pop(key, None)
        if transfer is None:
            return self._drop("no_session")
        transfer.heard = now
        self._transfers[key] = transfer
        answers = transfer.answers(transfer.session.take(packet, now))
        self._forget_if_over(key)
        return answers

    def expire(self, now: float) -> list[Datagram]:
        """What is to be sent again by now."""
        answers: list[Datagram] = []
        for key, transfer in list(self._transfers.items()):
            answers += transfer.answers(transfer.session.expire(now))
            self._forget_if_over(key)
        return answers

    def close(self) -> None:
        """End all transfers."""
        while self._transfers:
            self._transfers.popitem()[1].source.close()

    def _request(self, key: Key, request: Request, datagram: Datagram, now: float) -> list[Datagram]:
        if (transfer := self._transfers.get(key)) is not None:
            # One that comes twice is no new one; but after a silence it is a client that started over.
            if transfer.request.payload == datagram.payload and now - transfer.heard < TIMEOUT:
                return transfer.answers(transfer.session.repeat_start(now))
            self._forget(key)
        if not self._has_room(key, now):
            return self._drop("too_many_sessions")
        answer = self._refusal(request) or self._begin(key, request, datagram, now)
        return [datagram.answer(encode(packet)) for packet in answer]

    def _refusal(self, request: Request) -> list[Packet]:
        if request.write:
            return [Error(Code.ACCESS_VIOLATION, b"Access violation")]
        if request.mode not in (b"octet", b"netascii"):
            return [Error(Code.ILLEGAL_OPERATION, b"Unsupported transfer mode")]
        return []

    def _begin(self, key: Key, request: Request, datagram: Datagram, now: float) -> list[Packet]:
        try:
            source = Source(self._open(request.name), netascii=request.mode == b"netascii")
        except OSError as error:
            return [_error(error)]
        try:
            room = self._mtu - _HEADERS[datagram.source.version]
            session = Session(source.read, agree(request.options, source.size, room))
        except BadOptionError as error:
            source.close()
            return [Error(Code.BAD_OPTION, str(error).encode())]
        self._transfers[key] = _Transfer(session, source, datagram, now)
        packets = session.start(now)
        self._forget_if_over(key)
        return packets

    def _has_room(self, key: Key, now: float) -> bool:
        """Is there room for one more session, after the one that was silent longest was taken away?"""
        own = [other for other in self._transfers if other[0] == key[0]]
        if len(own) >= MAX_SESSIONS_OF_GUEST:
            return self._evict(own[0], now)
        if len(self._transfers) >= MAX_SESSIONS:
            return self._evict(next(iter(self._transfers)), now)
        return True

    def _evict(self, key: Key, now: float) -> bool:
        if now - self._transfers[key].heard < IDLE:
            return False
        self._forget(key)
        return True

    def _forget_if_over(self, key: Key) -> None:
        if self._transfers[key].session.over:
            self._forget(key)

    def _forget(self, key: Key) -> None:
        self._transfers.pop(key).source.close()

    def _drop(self, reason: str) -> list[Datagram]:
        """Count it, and answer nothing."""
        self.drops[reason] += 1
        return []


def _error(error: OSError) -> Error:
    """What a file that cannot be opened is to the client, in QEMU's words where it has them."""
    if isinstance(error, PermissionError):
        return Error(Code.ACCESS_VIOLATION, b"Access violation")
    if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO):
        return Error(Code.NOT_DEFINED, (error.strerror or "").encode())
    return Error(Code.NOT_FOUND, b"File not found")


async def serve_tftp(
    channel: ServiceChannel,
    server: TftpServer,
    addresses: Iterable[Address],
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Answer what comes for port 69 of `addresses`, until cancelled."""
    wake = asyncio.Event()

    def handle(datagram: Datagram) -> list[Datagram]:
        wake.set()
        return server.handle(datagram, clock())

    registered = list(addresses)
    for address in registered:
        channel.register(address, PORT, handle)
    try:
        while True:
            await _sleep(wake, server.deadline, clock)
            for answer in server.expire(clock()):
                channel.send(answer)
    finally:
        for address in registered:
            channel.unregister(address, PORT)
        server.close()


async def _sleep(wake: asyncio.Event, deadline: float | None, clock: Callable[[], float]) -> None:
    """Sleep until the deadline, or until something may have changed it."""
    delay = None if deadline is None else max(0.0, deadline - clock())
    try:
        await asyncio.wait_for(wake.wait(), delay)
    except TimeoutError:
        return
    wake.clear()


def files_below(directory: str) -> OpenFile:
    """`open_file` for a server of `directory`."""
    return lambda name: open_beneath(directory, name)
