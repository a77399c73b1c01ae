"""A machine without a guest: QEMU's qtest, by which a test accesses ports, memory and devices itself.

The protocol: one command a line, answered by "OK ..." or "FAIL ..."; "IRQ raise N" and "IRQ lower N" come at
any time between (QEMU, docs/devel/testing/qtest).
"""

from __future__ import annotations

import select
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

PATIENCE = 20.0
SLOT = 3  # where the card under test is
IO, MEMORY = 0xC000, 0xE0000000
SUFFIX = {1: "b", 2: "w", 4: "l"}
# Longest that a line takes to come to rest, in seconds: the server tells a level again after a millisecond.
REST = 0.05


class Machine:
    """A q35 with one card in `SLOT`: ports of its BAR at `IO`, memory of it at `MEMORY`."""

    def __init__(self, qemu: Sequence[str], folder: Path, words: Sequence[str], *, memory: int = 64) -> None:
        path = folder / "qtest.sock"
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            listener.listen()
            listener.settimeout(PATIENCE)
            backend = f"memory-backend-memfd,id=m,size={memory}M,share=on"
            command = [
                *qemu,
                "-accel",
                "qtest",
                "-qtest",
                f"unix:{path}",
                "-qtest-log",
                "none",
                "-nodefaults",
            ]
            command += ["-display", "none", "-m", str(memory), "-object", backend]
            self.process = subprocess.Popen([*command, "-machine", "q35,memory-backend=m", *words])
            self.sock, _ = listener.accept()
        path.unlink()
        self.sock.settimeout(PATIENCE)
        self.lines: set[int] = set()
        self._input = b""
        self.ask("irq_intercept_in ioapic")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.sock.close()
        self.process.kill()
        self.process.wait()

    def ask(self, command: str) -> str:
        """Send a command; returns what follows "OK"."""
        self.sock.sendall(command.encode() + b"\n")
        while True:
            word, _, rest = self._line().partition(" ")
            if word == "IRQ":
                self._interrupt(rest)
            elif word == "OK":
                return rest
            else:
                raise AssertionError(f"{command}: {word} {rest}")

    def _line(self) -> str:
        while b"\n" not in self._input:
            more = self.sock.recv(4096)
            assert more, "QEMU has ended"
            self._input += more
        line, _, self._input = self._input.partition(b"\n")
        return line.decode().strip()

    def _interrupt(self, text: str) -> None:
        way, number = text.split()
        if way == "raise":
            self.lines.add(int(number))
        else:
            self.lines.discard(int(number))

    def level(self) -> bool:
        """Whether a PCI interrupt is asserted, once that has come to rest."""
        while b"\n" in self._input or select.select([self.sock], [], [], REST)[0]:
            self._interrupt(self._line().removeprefix("IRQ "))
        return any(16 <= line < 24 for line in self.lines)

    def port(self, port: int, size: int) -> int:
        """Read a port."""
        return int(self.ask(f"in{SUFFIX[size]} {port:#x}"), 16)

    def out(self, port: int, size: int, value: int) -> None:
        """Write a port."""
        self.ask(f"out{SUFFIX[size]} {port:#x} {value:#x}")

    def load(self, address: int, size: int) -> bytes:
        """Read memory."""
        return bytes.fromhex(self.ask(f"read {address:#x} {size:#x}").removeprefix("0x"))

    def store(self, address: int, data: bytes) -> None:
        """Write memory."""
        self.ask(f"write {address:#x} {len(data):#x} 0x{data.hex()}")

    def mmio(self, address: int, size: int = 4) -> int:
        """Read a register in memory."""
        return int(self.ask(f"read{SUFFIX[size]} {address:#x}"), 16)

    def mmio_write(self, address: int, value: int, size: int = 4) -> None:
        """Write a register in memory."""
        self.ask(f"write{SUFFIX[size]} {address:#x} {value:#x}")

    def step(self, nanoseconds: int) -> None:
        """Let the machine's time pass."""
        self.ask(f"clock_step {nanoseconds}")

    def config(self, offset: int, value: int | None = None) -> int:
        """Read, or write, 32 bits of the card's configuration space."""
        self.out(0xCF8, 4, 0x80000000 | SLOT << 11 | offset)
        if value is None:
            return self.port(0xCFC, 4)
        self.out(0xCFC, 4, value)
        return value

    def place(self) -> None:
        """Give the first two BARs their places, and switch everything on."""
        for bar in (0, 1):
            kind = self.config(0x10 + 4 * bar) & 1
            self.config(0x10 + 4 * bar, IO if kind else MEMORY)
        self.config(4, 0x0107)
