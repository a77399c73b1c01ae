"""The two sides of a comparison: QEMU's own model of a card, and ours behind vfio-user."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.guests.newer_qemu import Qemu
from tests.oracles.qtest import SLOT, Machine
from wirebay.cards.models import card_class
from wirebay.cards.server import make_server, serve_clients

MAC = bytes.fromhex("525400123456")
TEXT = MAC.hex(":")
PATIENCE = 5.0


class Cable:
    """The other end of a card's cable: frames of whatever side."""

    def __init__(self, sock: socket.socket, *, datagrams: str = "") -> None:
        self.sock, self.datagrams = sock, datagrams
        sock.settimeout(PATIENCE)

    def send(self, frame: bytes) -> None:
        if self.datagrams:
            self.sock.sendto(frame, self.datagrams)
        else:
            self.sock.sendall(struct.pack(">I", len(frame)) + frame)

    def receive(self) -> bytes:
        if self.datagrams:
            return self.sock.recv(65536)
        (length,) = struct.unpack(">I", self.sock.recv(4, socket.MSG_WAITALL))
        return self.sock.recv(length, socket.MSG_WAITALL)


Side = tuple[Machine, Cable]


@contextmanager
def theirs(qemu: Qemu, model: str, folder: Path) -> Iterator[Side]:
    """QEMU's own model."""
    here, there = folder / "test.sock", folder / "qemu.sock"
    netdev = f"dgram,id=n0,local.type=unix,local.path={there},remote.type=unix,remote.path={here}"
    device = f"{model},netdev=n0,mac={TEXT},addr={SLOT},romfile="
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(here))
        with Machine(qemu.words, folder, ["-netdev", netdev, "-device", device]) as machine:
            machine.place()
            yield machine, Cable(sock, datagrams=str(there))


@contextmanager
def ours(qemu: Qemu, model: str, folder: Path) -> Iterator[Side]:
    """Ours, served by a thread of this process."""
    path = folder / "card.sock"
    near, far = socket.socketpair()
    with far, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        server, _ = make_server(card_class(model), MAC, near)
        thread = threading.Thread(target=serve_clients, args=(server, listener, model), daemon=True)
        thread.start()
        device = {
            "driver": "vfio-user-pci", "addr": str(SLOT), "rombar": 0,
            "socket": {"type": "unix", "path": str(path)},
        }  # fmt: skip
        try:
            with Machine(qemu.words, folder, ["-device", json.dumps(device)]) as machine:
                machine.place()
                yield machine, Cable(far)
        finally:
            server.stop()
            thread.join(PATIENCE)
