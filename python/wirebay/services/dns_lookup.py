"""Whom to ask: one question and several servers, as a machine.

Theory of operation
===================

`Upstreams` is what is known of the servers: their order, and which of them failed lately. A server that was
silent, unreachable or refused is asked last for a while, and so the others answer at once meanwhile.

A `Lookup` is one question. It asks the servers in that order, the next when one fails or is silent for
`PATIENCE`, and goes round `ROUNDS` times; a second time is the same question once more, as the first may
have been lost. All servers that were asked are still listened to, so a slow one counts as well, whenever it
answers.

    begin, a server failed, time ran out  ask the next; with none left wait PATIENCE for the late ones
    an answer                             done
    a refusal (SERVFAIL, REFUSED ...)     keep it, ask the next; done with it when all refused
    none is left, and time ran out        done with the last refusal, or with nothing

Servers may refuse for reasons of their own (no recursion for us) or of the name (its signature is wrong), so
a refusal counts as an answer only when nobody has a better one.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable

from wirebay.options.types import Address

__all__ = ["PATIENCE", "Lookup", "Upstreams"]

PATIENCE = 2.0  # seconds
ROUNDS = 2
PENALTY = 30.0  # seconds


class Upstreams:
    """The servers, best first, and what is remembered of them."""

    def __init__(self) -> None:
        self.servers: tuple[Address, ...] = ()
        self._bad_until: dict[Address, float] = {}

    def replace(self, servers: Iterable[Address]) -> None:
        """Other servers from now on; what is remembered of those that stay is kept."""
        self.servers = tuple(dict.fromkeys(servers))
        kept = {server: until for server, until in self._bad_until.items() if server in self.servers}
        self._bad_until = kept

    def order(self, now: float) -> list[Address]:
        """The servers in the order to ask them; `now` is in seconds on any clock."""
        return sorted(self.servers, key=lambda server: self._bad_until.get(server, -math.inf) > now)

    def failed(self, server: Address, now: float) -> None:
        """`server` was of no use."""
        if server in self.servers:
            self._bad_until[server] = now + PENALTY

    def worked(self, server: Address) -> None:
        """`server` answered."""
        self._bad_until.pop(server, None)


class Lookup:
    """One question. Each input returns the server to ask now, None for none.

    `done` is whether it is over, `answer` then the answer, None if nobody gave one; `deadline` is when
    `expire` wants to be called.
    """

    def __init__(self, upstreams: Upstreams, now: float) -> None:
        self.done = False
        self.answer: bytes | None = None
        self.deadline = now
        self._upstreams = upstreams
        self._waiting: deque[Address] = deque(upstreams.order(now) * ROUNDS)
        self._open: set[Address] = set()  # asked, and neither failed nor refused
        self._last: Address | None = None
        self._over = False

    def begin(self, now: float) -> Address | None:
        """The first server."""
        return self._next(now)

    def answered(self, server: Address, answer: bytes, _: float) -> None:
        """`server` has the answer."""
        self._upstreams.worked(server)
        self._finish(answer)

    def refused(self, server: Address, answer: bytes, now: float) -> Address | None:
        """`server` answered that it cannot help."""
        if not self.done:
            self.answer = answer
        return self.failed(server, now)

    def failed(self, server: Address, now: float) -> Address | None:
        """`server` cannot be reached, or refused; there is no point in asking it again."""
        self._upstreams.failed(server, now)
        self._open.discard(server)
        self._waiting = deque(other for other in self._waiting if other != server)
        if not self._waiting and not self._open:
            self._finish(self.answer)
        return self._next(now) if server == self._last else None

    def expire(self, now: float) -> Address | None:
        """Time passed."""
        if self.done or now < self.deadline:
            return None
        if self._last is not None:
            self._upstreams.failed(self._last, now)
        return self._next(now)

    def _next(self, now: float) -> Address | None:
        if self.done:
            return None
        if not self._waiting:
            self._wait_for_the_late(now)
            return None
        self._last = self._waiting.popleft()
        self._open.add(self._last)
        self.deadline = now + PATIENCE
        return self._last

    def _wait_for_the_late(self, now: float) -> None:
        if self._over or not self._open:
            self._finish(self.answer)
            return
        self._over = True
        self.deadline = now + PATIENCE

    def _finish(self, answer: bytes | None) -> None:
        if not self.done:
            self.done = True
            self.answer = answer
