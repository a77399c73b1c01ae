"""A serial EEPROM of 64 words, as cards wire it to bits of a register (Microchip 93C46 data sheet).

A command is a start bit, two bits of opcode and six of address, each taken at a rising clock while the chip
is selected; a read then gives a zero and the bits of the word, the highest first, and of those that follow.
"""

from __future__ import annotations

from collections.abc import Iterable

WORDS = 64
READ, WRITE, ERASE, OTHER = 0b110, 0b101, 0b111, 0b100  # with the start bit
COMMAND_BITS = 9


class Eeprom:
    """The chip; `words` is what it holds, `output` the level of its data pin."""

    def __init__(self, words: Iterable[int]) -> None:
        self.words = [*words, *[0] * WORDS][:WORDS]
        self.output = 1
        self._writable = False
        self._clock = False
        self._deselect()

    def drive(self, select: bool, clock: bool, data: bool) -> None:
        """Set the levels of its three inputs."""
        rising = clock and not self._clock
        self._clock = clock
        if not select:
            self._deselect()
        elif rising:
            self._step(int(data))

    def _deselect(self) -> None:
        self._command = self._data = self._count = 0
        self.output = 1

    def _step(self, bit: int) -> None:
        if self._command.bit_length() < COMMAND_BITS:
            self._command = self._command << 1 | bit  # zeros before the start bit do not count
            if self._command.bit_length() == COMMAND_BITS:
                self._begin()
            return
        opcode, address = self._command >> 6, self._command & 0x3F
        if opcode == READ:
            word = self.words[(address + self._count // 16) % WORDS]
            self.output = word >> 15 - self._count % 16 & 1
        elif opcode == WRITE:
            self._data = (self._data << 1 | bit) & 0xFFFF
            if self._count == 15 and self._writable:
                self.words[address] = self._data
        self._count += 1

    def _begin(self) -> None:
        opcode, address = self._command >> 6, self._command & 0x3F
        self.output = int(opcode != READ)
        if opcode == ERASE and self._writable:
            self.words[address] = 0xFFFF
        elif opcode == OTHER:
            # The upper address bits say what: 11 permits writing, 00 forbids it.
            self._writable = address >> 4 == 3 or (self._writable and address >> 4 != 0)


def words(data: bytes) -> list[int]:
    """Bytes as words, the lower byte first."""
    return [int.from_bytes(data[at : at + 2], "little") for at in range(0, len(data), 2)]
