"""What the 82540EM does to a packet on its way out: checksums, segmentation, VLAN tags.

Source: Intel's manual, sections 3.3.6 and 3.3.7 (context and data descriptors), 3.5 (TCP segmentation).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from wirebay.cards.checksums import insert, total
from wirebay.cards.e1000_registers import TxCommand

TCP_CONTEXT, IPV4_CONTEXT = 0x01, 0x02  # TUCMD
IXSM, TXSM = 0x01, 0x02  # POPTS
FIN_AND_PSH = 0x09
ETHERNET = 14


@dataclass(frozen=True, slots=True)
class Context:
    """A context descriptor: where headers and checksums lie, and how to cut."""

    ipcss: int = 0
    ipcso: int = 0
    ipcse: int = 0
    tucss: int = 0
    tucso: int = 0
    tucse: int = 0
    command: int = 0
    header: int = 0
    mss: int = 0

    @classmethod
    def parse(cls, data: bytes) -> Context:
        """From the 16 bytes of the descriptor."""
        ipcss, ipcso, ipcse, tucss, tucso, tucse, word, _, header, mss = struct.unpack("<BBHBBHIBBH", data)
        return cls(ipcss, ipcso, ipcse, tucss, tucso, tucse, word >> 24, header, mss)

    def text(self) -> str:
        """For the trace."""
        return (
            f"ip {self.ipcss}/{self.ipcso}/{self.ipcse} tu {self.tucss}/{self.tucso}/{self.tucse}"
            f" header {self.header} mss {self.mss}"
        )


def segments(packet: bytes, context: Context, options: int) -> Iterator[bytes]:
    """Cut a packet by its context: each with a header of its own, and `options` (POPTS) of checksums."""
    header, payload = packet[: context.header], packet[context.header :]
    step = context.mss or max(1, len(payload))
    for at in range(0, max(1, len(payload)), step):
        part = payload[at : at + step]
        frame = bytearray(header + part)
        amend(frame, context, at, at // step, last=at + step >= len(payload))
        checksums(frame, context, options)
        yield bytes(frame)


def amend(frame: bytearray, context: Context, offset: int, number: int, *, last: bool) -> None:
    """Make the headers those of one segment: lengths, identification, sequence number, flags."""
    if context.command & IPV4_CONTEXT:
        put(frame, context.ipcss + 2, 2, len(frame) - context.ipcss)
        put(frame, context.ipcss + 4, 2, get(frame, context.ipcss + 4, 2) + number)
    else:
        put(frame, context.ipcss + 4, 2, len(frame) - context.ipcss - 40)
    length = len(frame) - context.tucss
    if context.command & TCP_CONTEXT:
        put(frame, context.tucss + 4, 4, get(frame, context.tucss + 4, 4) + offset)
        flags = context.tucss + 13
        if not last and flags < len(frame):
            frame[flags] &= ~FIN_AND_PSH
    else:
        put(frame, context.tucss + 4, 2, length)
    # The driver left the length out of the pseudo header's sum: only the card knows it.
    pseudo = get(frame, context.tucso, 2).to_bytes(2, "big") + (length & 0xFFFF).to_bytes(2, "big")
    put(frame, context.tucso, 2, total(pseudo))


def checksums(frame: bytearray, context: Context, options: int) -> None:
    """Put in the checksums that were asked for."""
    if options & IXSM:
        insert(frame, context.ipcss, context.ipcso, context.ipcse)
    if options & TXSM:
        insert(frame, context.tucss, context.tucso, context.tucse)


def tagged(frame: bytes, kind: int, tag: int) -> bytes:
    """The frame with a VLAN tag behind its addresses."""
    return frame[:12] + struct.pack(">HH", kind, tag) + frame[12:]


def get(frame: bytearray, at: int, size: int) -> int:
    """A number in a frame; what is outside counts as 0."""
    return int.from_bytes(frame[at : at + size].ljust(size, b"\0"), "big")


def put(frame: bytearray, at: int, size: int, value: int) -> None:
    """Put a number into a frame, if it lies within."""
    if at + size <= len(frame):
        frame[at : at + size] = (value & (1 << 8 * size) - 1).to_bytes(size, "big")


@dataclass(slots=True)
class Outgoing:
    """A packet that descriptors put together; `command` and `options` are of its first one."""

    data: bytearray
    command: int = 0
    options: int = 0
    tag: int = 0
    too_long: bool = False
    begun: bool = False

    def begin(self, command: int, options: int) -> None:
        """The first descriptor of the packet."""
        self.command, self.options, self.begun = command, options, True

    def frames(self, context: Context) -> Iterator[bytes]:
        """What goes on the wire."""
        if self.command & TxCommand.TSE and 0 < context.header <= len(self.data):
            yield from segments(bytes(self.data), context, self.options)
        elif self.data:
            frame = bytearray(self.data)
            checksums(frame, context, self.options)
            yield bytes(frame)
