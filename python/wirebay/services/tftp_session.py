"""One TFTP transfer to a client, as a machine (RFC 1350, 2347, 7440).

Theory of operation
===================

A session holds a window: the blocks that were sent and not yet acknowledged, oldest first. `base` is the
number of the first of them, counted from 1 without end; on the wire it wraps after 65535. With the window
size of 1 this is RFC 1350's lockstep. Where options were agreed, an OACK stands in the place of block 0,
alone in its window.

    start       send the OACK, or fill the window
    ACK n       n in the window: forget the blocks up to n, send what is left of the window again (the client
                tells a gap by acknowledging what came before it), and fill it up
                anything else: nothing
    no ACK      after `timeout` seconds send the window again; after TRIES times give up
    ERROR       over
    last block  the first block shorter than the agreed size; over when it is acknowledged

"Anything else: nothing" is what keeps the sorcerer's apprentice away: an acknowledgement that comes twice
moves nothing, so it sends nothing, and no packet can double all that follow. A block is sent again only
because time passed, or because a *new* acknowledgement ended before the window did.

The price: when the first block of a window is lost, the client's repeated acknowledgement of the block before
looks like a duplicate, and the window waits for its time-out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from wirebay.services.tftp_message import Ack, Code, Data, Error, OptionAck, Packet
from wirebay.services.tftp_options import Terms

__all__ = ["TIMEOUT", "Session"]

TIMEOUT = 1.0  # seconds, where the client named none
TRIES = 6
_NUMBERS = 1 << 16

Read = Callable[[int], bytes]


class Session:
    """One transfer. `read(n)` gives the next n bytes of what is to be sent, fewer only at its end.

    `deadline` is when `expire` wants to be called (seconds on the clock of `now`), `over` that nothing more
    will come; whoever made `read` then closes what is behind it. Where `read` raises OSError the client is
    told.
    """

    def __init__(self, read: Read, terms: Terms) -> None:
        self.over = False
        self.deadline = 0.0
        self._read = read
        self._terms = terms
        self._timeout = TIMEOUT if terms.timeout is None else terms.timeout
        self._window: deque[Packet] = deque()
        self._base = 1
        self._ended = False
        self._tries = 0

    def start(self, now: float) -> list[Packet]:
        """The first packets."""
        if not self._terms.accepted:
            return self._fill_and_send(now)
        self._base = 0
        self._window.append(OptionAck(self._terms.accepted))
        return self._send(now)

    def take(self, packet: Packet, now: float) -> list[Packet]:
        """A packet of the client; returns what to send."""
        if isinstance(packet, Error):
            self.over = True
        if self.over or not isinstance(packet, Ack):
            return []
        moved = (packet.block - self._base) % _NUMBERS + 1
        if moved > len(self._window):
            return []
        return self._advance(moved, now)

    def repeat_start(self, now: float) -> list[Packet]:
        """The client asked again: its first answer may be lost. Nothing once it acknowledged something."""
        untouched = self._base == (0 if self._terms.accepted else 1)
        return self._send(now) if untouched and not self.over else []

    def expire(self, now: float) -> list[Packet]:
        """Time passed; returns what to send again, if it is time for that."""
        if self.over or now < self.deadline:
            return []
        self._tries += 1
        if self._tries >= TRIES:
            self.over = True
            return []
        return self._send(now)

    def _advance(self, count: int, now: float) -> list[Packet]:
        for _ in range(count):
            self._window.popleft()
        self._base += count
        self._tries = 0
        return self._fill_and_send(now)

    def _fill_and_send(self, now: float) -> list[Packet]:
        try:
            self._fill()
        except OSError as error:
            self.over = True
            return [Error(Code.NOT_DEFINED, (error.strerror or "read error").encode())]
        self.over = not self._window
        return self._send(now)

    def _fill(self) -> None:
        while not self._ended and len(self._window) < self._terms.window:
            data = self._read(self._terms.block)
            self._ended = len(data) < self._terms.block
            self._window.append(Data((self._base + len(self._window)) % _NUMBERS, data))

    def _send(self, now: float) -> list[Packet]:
        self.deadline = now + self._timeout
        return list(self._window)
