"""A TFTP client that follows the RFCs, and a link to a session that loses, doubles and reorders."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from random import Random

from wirebay.services.tftp_message import Ack, Data, OptionAck, Packet, decode, encode
from wirebay.services.tftp_options import Terms
from wirebay.services.tftp_session import Session

DELAY = 0.01
CLIENT_TIMEOUT = 2.5


@dataclass
class Client:
    """Receives as RFC 1350 and 7440 say; `eager` acknowledges every copy of a block that it knows."""

    block: int
    window: int
    eager: bool = False
    received: bytearray = field(default_factory=bytearray)
    expected: int = 1
    since_ack: int = 0
    done: bool = False

    def take(self, packet: Packet) -> list[Packet]:
        if isinstance(packet, OptionAck):
            return [Ack(0)] if self.expected == 1 else []
        if not isinstance(packet, Data):
            return []
        ahead = (packet.block - self.expected) % 65536
        if ahead == 0:
            return self._next(packet.data)
        if ahead > 32768 and not self.eager:  # a block from before
            return [self.ack()] if self.done else []
        self.since_ack = 0
        return [self.ack()]

    def _next(self, data: bytes) -> list[Packet]:
        if self.done:
            return [self.ack()]
        self.received += data
        self.expected += 1
        self.since_ack += 1
        self.done = len(data) < self.block
        if self.since_ack < self.window and not self.done:
            return []
        self.since_ack = 0
        return [self.ack()]

    def ack(self) -> Ack:
        return Ack((self.expected - 1) % 65536)


@dataclass
class Link:
    """Fates are drawn from `random`: shares of packets lost, doubled and delayed."""

    random: Random
    loss: float = 0.0
    double: float = 0.0
    reorder: float = 0.0

    def delays(self) -> list[float]:
        copies = 0 if self.random.random() < self.loss else 1
        copies += self.random.random() < self.double
        return [
            DELAY * (1 + 10 * self.random.random() if self.random.random() < self.reorder else 1)
            for _ in range(copies)
        ]


@dataclass
class Outcome:
    """How a transfer went; `sent` is what the session sent, `expired` how often its time ran out."""

    client: Client
    session: Session
    sent: list[Packet]
    expired: int
    ended_at: float


def transfer(content: bytes, terms: Terms, link: Link, *, eager: bool = False) -> Outcome:
    """Send `content` through the link until the session is over."""
    position = 0

    def read(size: int) -> bytes:
        nonlocal position
        position += size
        return content[position - size : position]

    run = _Run(Session(read, terms), Client(terms.block, terms.window, eager), link)
    run.to_client(run.session.start(0.0))
    while not run.session.over:
        run.step()
    return Outcome(run.client, run.session, run.sent, run.expired, run.now)


class _Run:
    def __init__(self, session: Session, client: Client, link: Link) -> None:
        self.session, self.client, self.link = session, client, link
        self.now, self.client_deadline, self.expired = 0.0, CLIENT_TIMEOUT, 0
        self.sent: list[Packet] = []
        self.flying: list[tuple[float, int, bool, bytes]] = []
        self.numbers = count()

    def step(self) -> None:
        arrival = self.flying[0][0] if self.flying else float("inf")
        deadline = min(self.session.deadline, self.client_deadline)
        self.now = min(arrival, deadline)
        if arrival <= deadline:
            _, _, to_client, data = heapq.heappop(self.flying)
            self.deliver(decode(data), to_client=to_client)
        elif self.session.deadline <= self.client_deadline:
            self.expired += 1
            self.to_client(self.session.expire(self.now))
        else:  # the client's own time ran out: it says again what it has
            self.client_deadline = self.now + CLIENT_TIMEOUT
            self.fly([self.client.ack()], to_client=False)

    def deliver(self, packet: Packet, *, to_client: bool) -> None:
        if to_client:
            self.client_deadline = self.now + CLIENT_TIMEOUT
            self.fly(self.client.take(packet), to_client=False)
        else:
            self.to_client(self.session.take(packet, self.now))

    def to_client(self, packets: Sequence[Packet]) -> None:
        self.sent += packets
        self.fly(packets, to_client=True)

    def fly(self, packets: Sequence[Packet], *, to_client: bool) -> None:
        for packet in packets:
            for delay in self.link.delays():
                entry = (self.now + delay, next(self.numbers), to_client, encode(packet))
                heapq.heappush(self.flying, entry)
