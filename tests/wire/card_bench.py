"""A card that is served over vfio-user, and the other end of its cable."""

from __future__ import annotations

import select
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tests.examples.simple_card import Cause, SimpleCard
from tests.wire.vfio_client import (
    Client,
)
from wirebay.cards.card import Card
from wirebay.cards.pci import Bar, Identity, msix
from wirebay.cards.server import make_server, serve_clients

MAC = bytes.fromhex("525400123456")
FRAME = bytes.fromhex("ffffffffffff") + MAC + b"\x88\xb5" + bytes(range(100))
ROM_IMAGE = b"\x55\xaa" + bytes(2046)
CTRL, ISR, IMR, TXADDR, TXLEN, RXADDR, RXSIZE, RXLEN = 0, 4, 8, 0x20, 0x24, 0x28, 0x2C, 0x30


class VectorCard(SimpleCard):
    """The same with two MSI-X vectors."""

    identity = Identity(
        vendor=0x1234,
        device=0x5144,
        bars=(Bar(4096), Bar(4096)),
        vectors=2,
        capabilities=(msix(2, 1, 0, 0x800), (0x09, b"\x05\0\0")),
    )

    def work(self, now: int) -> None:
        super().work(now)
        self.signal(1)


class BrokenCard(SimpleCard):
    """A model with a fault."""

    def work(self, now: int) -> None:
        raise ZeroDivisionError


class HastyCard(SimpleCard):
    """One that is told of waiting frames soon."""

    patience = 1000

    def overflow(self, now: int) -> None:
        self.ISR |= Cause.ERR


class Bench:
    """A card that is served, and the other end of its cable."""

    def __init__(self, kind: type[Card]) -> None:
        ours, self.cable = socket.socketpair()
        self.cable.settimeout(5)
        self.server, self.card = make_server(kind, MAC, ours, ROM_IMAGE)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind("")  # a name of the kernel's choice, in no folder
        self.listener.listen()
        arguments = (self.server, self.listener, kind.__name__)
        self.thread = threading.Thread(target=serve_clients, args=arguments, daemon=True)
        self.thread.start()

    def connect(self) -> Client:
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(5)
        sock.connect(self.listener.getsockname())
        return Client(sock)

    def close(self) -> None:
        self.server.stop()
        self.thread.join(5)
        assert not self.thread.is_alive()
        self.listener.close()
        self.cable.close()

    def sent(self) -> bytes:
        """The next frame that the card has sent."""
        (length,) = struct.unpack(">I", self.cable.recv(4, socket.MSG_WAITALL))
        return self.cable.recv(length, socket.MSG_WAITALL)

    def send(self, frame: bytes) -> None:
        self.cable.sendall(struct.pack(">I", len(frame)) + frame)


@contextmanager
def served(kind: type[Card] = SimpleCard) -> Iterator[tuple[Bench, Client]]:
    bench = Bench(kind)
    try:
        with bench.connect() as client:
            client.start()
            yield bench, client
    finally:
        bench.close()


Pair = tuple[Bench, Client]


def until(client: Client, offset: int, wanted: int) -> int:
    """Read a register until one of the wanted bits is set."""
    for _ in range(10_000):
        if (value := client.read(0, offset, 4)) & wanted:
            return value
    raise AssertionError(f"register {offset:#x} never had {wanted:#x}")


def transmit(client: Client, address: int, length: int = len(FRAME)) -> None:
    client.write(0, TXADDR, 4, address)
    client.write(0, TXLEN, 4, length)


def wait_for_interrupt(client: Client) -> None:
    select.select([client.event], [], [], 5)
    assert client.interrupts() == 1
