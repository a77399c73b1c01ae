"""Intel 82540EM: its rings. The rest is in `e1000_base.py`.

Theory of operation. A ring is TDLEN or RDLEN bytes of 16-byte descriptors at TDBA or RDBA. The guest owns
what lies from the tail up to the head, the card what lies from the head up to the tail.

Sending: the engine takes descriptors from TDH on until it meets TDT. Those of a packet are put together up to
EOP; a context descriptor says how packets after it are cut and where their checksums go. Those with RS are
written back with DD. A tail outside of the ring would never be met; after a whole lap the engine stops.

Receiving: a frame that passes the filters goes into as many buffers as it needs, from RDH on; the upper half
of each descriptor, with DD, is written in one piece. With too few buffers frames wait outside (`receives`).
"""

from __future__ import annotations

import struct

from wirebay.cards.checksums import looked_at, total
from wirebay.cards.e1000_base import E1000Base
from wirebay.cards.e1000_offload import Context, Outgoing, tagged
from wirebay.cards.e1000_registers import Cause, Ctrl, Rah, Rctl, Rxcsum, RxErrors, RxStatus, Tctl, TxCommand
from wirebay.cards.ethernet import BROADCAST, checksum, padded

DESCRIPTOR = 16
DD = 0x01
# Descriptors taken before others get their turn.
QUANTUM = 64
LONGEST_PACKET = 1 << 16
LONGEST_FRAME, LONGEST_LONG_FRAME = 1518, 16380  # received, without the checksum; a tag may come on top
TAG = 4
CONTEXT = 0  # DTYP; data is 1
# How far the bits of an address are shifted for the multicast filter, by RCTL.MO.
SHIFTS = (4, 3, 2, 0)


class E1000(E1000Base):
    """The card."""

    def reset(self, now: int) -> None:
        """As after power-on."""
        super().reset(now)
        self._context = Context()
        self._packet = Outgoing(bytearray())
        self._lap = 0

    # Sending.

    @E1000Base.TDT.on_write
    def _tail(self, value: int) -> None:
        self._lap = 0
        self.busy = True

    @E1000Base.TCTL.on_write
    def _transmit_control(self, value: int) -> None:
        self.busy = True

    def work(self, now: int) -> None:
        """Send what is in the ring."""
        for _ in range(QUANTUM):
            if not self._transmits():
                return
            self._take()
        self.busy = self._transmits()

    def _transmits(self) -> bool:
        size = self.TDLEN // DESCRIPTOR
        return bool(self.TCTL & Tctl.EN) and self.TDH != self.TDT and self._lap < size

    def _take(self) -> None:
        """One descriptor."""
        head, size = self.TDH, self.TDLEN // DESCRIPTOR
        address = (self.TDBAH << 32 | self.TDBAL) + head * DESCRIPTOR
        data = self.fetch(address, DESCRIPTOR)
        command = data[11]
        if command & TxCommand.DEXT and data[10] >> 4 == CONTEXT:
            self._context = Context.parse(data)
            self.note(f"tx {head}: context {self._context.text()}")
        else:
            self._gather(head, data, command)
        if command & TxCommand.RS:
            self.store(address + 12, bytes((data[12] | DD,)) + data[13:])
            self.ICR |= Cause.TXDW
        self._lap += 1
        self.TDH = head + 1 if head + 1 < size else 0
        if self.TDH == self.TDT:
            self.ICR |= Cause.TXQE

    def _gather(self, head: int, data: bytes, command: int) -> None:
        """Add a buffer to the packet, and send it if that was the last."""
        extended = command & TxCommand.DEXT
        buffer, word = struct.unpack_from("<QI", data)
        length = word & (0xFFFFF if extended else 0xFFFF)
        self.note(f"tx {head}: {length} bytes at {buffer:#x} {TxCommand.text(command)}")
        packet = self._packet
        if not packet.begun:
            packet.begin(command if extended else command & ~TxCommand.TSE, data[13] if extended else 0)
        if len(packet.data) + length > LONGEST_PACKET:
            packet.too_long = True
        elif length:
            packet.data += self.fetch(buffer, length)
        if command & TxCommand.EOP:
            self._packet = Outgoing(bytearray())
            self._finish(packet, data, command)

    def _finish(self, packet: Outgoing, data: bytes, command: int) -> None:
        if packet.too_long:
            return
        context = self._context
        if not command & TxCommand.DEXT and command & TxCommand.TSE:
            # In a legacy descriptor the bit means: insert a checksum, from CSS at CSO.
            context, packet.options = Context(tucss=data[13], tucso=data[10]), 2
        if packet.command & TxCommand.TSE:
            self.count(0x40F8)
        for frame in packet.frames(context):
            if command & TxCommand.VLE and self.CTRL & Ctrl.VME:
                frame = tagged(frame, self.VET, int.from_bytes(data[14:16], "little"))
            self._put_on_wire(frame)

    def _put_on_wire(self, frame: bytes) -> None:
        if len(frame) < 14:
            return
        frame = padded(frame)
        self.send(frame)
        for offset in (0x40D4, 0x4080):  # TPT, GPTC
            self.count(offset)
        for offset in (0x40C8, 0x4090):  # TOT, GOTC
            self.count_octets(offset, len(frame) + 4)
        self.count(0x40D8 + 4 * size_class(len(frame) + 4))
        if frame[0] & 1:
            self.count(0x40F4 if frame[:6] == BROADCAST else 0x40F0)

    # Receiving.

    @property
    def receives(self) -> bool:
        """Whether there are buffers for the longest frame; with the receiver off, frames are dropped."""
        if not self.RCTL & Rctl.EN or not self.link_up:
            return True
        longest = LONGEST_LONG_FRAME if self.RCTL & Rctl.LPE else LONGEST_FRAME
        return self._free() * self._buffer_size() >= longest + TAG + 4

    def _free(self) -> int:
        size = self.RDLEN // DESCRIPTOR
        return (self.RDT - self.RDH) % size if size else 0

    def _buffer_size(self) -> int:
        size = 2048 >> (self.RCTL >> 16 & 3)
        return size * 16 if self.RCTL & Rctl.BSEX and size < 2048 else size

    def accept(self, frame: bytes, now: int) -> None:
        """Put a frame into the ring, if it is for us."""
        if not self.RCTL & Rctl.EN or not self.link_up or len(frame) < 14:
            return
        status = self._filter(frame)
        if status is None:
            return
        frame, status, tag = self._untag(frame, status)
        frame = padded(frame)
        self._count_received(frame)
        status, errors, partial = self._look_at_checksums(frame, status)
        body = frame if self.RCTL & Rctl.SECRC else frame + checksum(frame)
        size = self._buffer_size()
        needed = -(-len(body) // size)
        if needed > self._free():
            self.count(0x40A0)  # RNBC
            self.count(0x4010)  # MPC
            self.ICR |= Cause.RXO
            return
        for number in range(needed):
            part = body[number * size : (number + 1) * size]
            end = RxStatus.EOP if number == needed - 1 else 0
            self._fill(part, struct.pack("<HHBBH", len(part), partial, status | end, errors, tag))
        self._received()

    def overflow(self, now: int) -> None:
        """There are too few buffers."""
        self.ICR |= Cause.RXO

    def _fill(self, part: bytes, upper: bytes) -> None:
        """Put a part of a frame into the next buffer, and its descriptor back."""
        head, size = self.RDH, self.RDLEN // DESCRIPTOR
        address = (self.RDBAH << 32 | self.RDBAL) + head * DESCRIPTOR
        buffer = int.from_bytes(self.fetch(address, 8), "little")
        if buffer:  # an empty descriptor is used up all the same
            self.store(buffer, part)
        self.store(address + 8, upper)
        self.note(f"rx {head}: {len(part)} bytes to {buffer:#x} {RxStatus.text(upper[4])}")
        self.RDH = head + 1 if head + 1 < size else 0

    def _received(self) -> None:
        self.ICR |= Cause.RXT0
        share = self.RDLEN // DESCRIPTOR >> (self.RCTL >> 8 & 3) + 1
        if self._free() <= share:
            self.ICR |= Cause.RXDMT0

    def _filter(self, frame: bytes) -> int | None:
        """The status of a frame that is for us; None: it is for others."""
        to = frame[:6]
        longest = LONGEST_LONG_FRAME if self.RCTL & Rctl.LPE else LONGEST_FRAME
        if len(frame) > longest + (TAG if frame[12:14] == self.VET.to_bytes(2, "big") else 0):
            self.count(0x40AC)  # ROC
            return None
        if not self._passes_vlan(frame):
            return None
        if to == BROADCAST:
            passes = self.RCTL & (Rctl.BAM | Rctl.MPE)
        else:
            if self._is_ours(to):
                return RxStatus.DD
            passes = self.RCTL & (Rctl.MPE if to[0] & 1 else Rctl.UPE)
        if passes:
            return RxStatus.DD
        return RxStatus.DD | RxStatus.PIF if to[0] & 1 and self._hashed(to) else None

    def _is_ours(self, to: bytes) -> bool:
        low, high = int.from_bytes(to[:4], "little"), int.from_bytes(to[4:], "little")
        return any(
            lower == low and upper & 0xFFFF == high and upper & Rah.AV
            for lower, upper in zip(self.RAL, self.RAH, strict=True)
        )

    def _hashed(self, to: bytes) -> int:
        bits = int.from_bytes(to[4:6], "little") >> SHIFTS[self.RCTL >> 12 & 3] & 0xFFF
        return self.MTA[bits >> 5] >> (bits & 31) & 1

    def _passes_vlan(self, frame: bytes) -> bool:
        if not self.RCTL & Rctl.VFE or frame[12:14] != self.VET.to_bytes(2, "big"):
            return True
        tag = int.from_bytes(frame[14:16], "big") & 0xFFF
        return bool(self.VFTA[tag >> 5] >> (tag & 31) & 1)

    def _untag(self, frame: bytes, status: int) -> tuple[bytes, int, int]:
        if not self.CTRL & Ctrl.VME or frame[12:14] != self.VET.to_bytes(2, "big"):
            return frame, status, 0
        return frame[:12] + frame[16:], status | RxStatus.VP, int.from_bytes(frame[14:16], "big")

    def _look_at_checksums(self, frame: bytes, status: int) -> tuple[int, int, int]:
        """Status and errors with what was found, and the checksum from PCSS on."""
        partial = ~total(frame[self.RXCSUM & Rxcsum.PCSS :]) & 0xFFFF
        if not self.RXCSUM & (Rxcsum.IPOFL | Rxcsum.TUOFL):
            return status | RxStatus.IXSM, 0, partial
        errors = 0
        network, transport = looked_at(frame)
        for right, wanted, seen, wrong in (
            (network, Rxcsum.IPOFL, RxStatus.IPCS, RxErrors.IPE),
            (transport, Rxcsum.TUOFL, RxStatus.TCPCS, RxErrors.TCPE),
        ):
            if right is not None and self.RXCSUM & wanted:
                status |= seen
                errors |= 0 if right else wrong
        return status, errors, partial

    def _count_received(self, frame: bytes) -> None:
        for offset in (0x40D0, 0x4074):  # TPR, GPRC
            self.count(offset)
        for offset in (0x40C0, 0x4088):  # TOR, GORC
            self.count_octets(offset, len(frame) + 4)
        self.count(0x405C + 4 * size_class(len(frame) + 4))
        if frame[0] & 1:
            self.count(0x4078 if frame[:6] == BROADCAST else 0x407C)


def size_class(length: int) -> int:
    """Which of the six counters by size a frame of this length, with its checksum, belongs to."""
    return sum(length > limit for limit in (64, 127, 255, 511, 1023))
