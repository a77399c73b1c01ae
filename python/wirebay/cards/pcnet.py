"""AMD Am79C970A, PCnet-PCI II.

Source: AMD Am79C970A data sheet.

Theory of operation. Registers are reached by number: RAP selects, RDP is the control register (CSR) and BDP
the bus register (BCR) of that number. A 32-bit write to RDP moves the ports to places for 32-bit accesses.

INIT in CSR0 makes the engine read the initialization block, which has the address, the filter, and where both
rings of descriptors are; STRT starts it. A descriptor belongs to the card while its OWN is set, which lies in
memory only: nothing tells the card that a receive buffer has become free. So when the next one is not ours,
frames wait outside for a while, during which the engine looks again and again; then they are missed.
"""

from __future__ import annotations

import struct

from wirebay.cards.ethernet import BROADCAST, checksum, hash_bit, is_multicast, padded
from wirebay.cards.pcnet_base import PcnetBase
from wirebay.cards.pcnet_registers import Csr0, Csr4, Flags, Mode, Sws

QUANTUM = 64
LONGEST_PACKET = 4096
# Microseconds between two looks at a receive ring that is full, and after which frames are missed.
LOOK, PATIENCE = 500, 20_000


class Pcnet(PcnetBase):
    """The card."""

    # The engine.

    def work(self, now: int) -> None:
        """Initialize, start, send, and look whether there is room to receive."""
        if self._initializing:
            self._initializing = False
            self._initialize()
        if self._starting:
            self._starting = False
            self.CSR0 |= (0 if self.MODE & Mode.DTX else Csr0.TXON) | (
                0 if self.MODE & Mode.DRX else Csr0.RXON
            )
        for _ in range(QUANTUM):
            if not self.CSR0 & Csr0.TXON or not self._take():
                break
        else:
            self.busy = True
        self._look(now)

    def _initialize(self) -> None:
        if self.SWS & Sws.SSIZE32:
            data = self.fetch(self.IADR, 28)
            mode, lengths, self.BADR, self.BADX = (
                *struct.unpack_from("<HH", data),
                *struct.unpack_from("<II", data, 20),
            )
            sizes = [min(length, 9) for length in (lengths >> 4 & 15, lengths >> 12)]
            addresses = data[4:10] + data[12:20]
        else:
            data = self.fetch(self.IADR & -2, 24)
            (mode,), rings = struct.unpack_from("<H", data), struct.unpack_from("<II", data, 16)
            self.BADR, self.BADX = (self._upper | ring & 0xFFFFF8 for ring in rings)
            sizes = [ring >> 29 for ring in rings]
            addresses = data[2:16]
        self.MODE = mode
        self.PADR, self.LADRF = (
            list(struct.unpack("<3H", addresses[:6])),
            list(struct.unpack("<4H", addresses[6:])),
        )
        self.RCVRL, self.XMTRL = (-(1 << size) & 0xFFFF for size in sizes)
        self._tx = self._rx = 0
        self.CSR0 |= Csr0.IDON
        receive, send = (1 << size for size in sizes)
        self.note(f"initialized: {receive} to receive at {self.BADR:#x}, {send} to send at {self.BADX:#x}")

    def _take(self) -> bool:
        """One transmit descriptor; False: there is none."""
        style, index = self._style, self._tx
        place = self.BADX + index * style.size & 0xFFFFFFFF
        address, flags, length = style.parse(self.fetch(place, style.size), self._upper)
        if not flags & Flags.OWN:
            return False
        self.note(f"tx {index}: {length} bytes at {address:#x} {Flags.text(flags)}")
        if flags & Flags.STP:
            self._packet, self._packing = bytearray(), True
        if self._packing and len(self._packet) + length <= LONGEST_PACKET:
            self._packet += self.fetch(address, length)
        at, data = style.flags(flags & ~(Flags.OWN | Flags.ERR))
        self.store(place + at, data)
        self._tx = (index + 1) % ((-self.XMTRL & 0xFFFF) or 1)
        if flags & Flags.ENP:
            self._finish(flags)
        return True

    def _finish(self, flags: int) -> None:
        frame, self._packet, packing = bytes(self._packet), bytearray(), self._packing
        self._packing = False
        self.CSR0 |= Csr0.TINT
        if self.MODE & Mode.DXMTFCS and not flags & Flags.ADD_FCS:
            frame = frame[:-4]
        if not packing or len(frame) < 14:
            return
        if self.CSR4 & Csr4.APAD_XMT:
            frame = padded(frame)
        if self.MODE & Mode.LOOP:
            self.accept(frame, self.now)
        else:
            self.send(frame)

    # Receiving.

    @property
    def receives(self) -> bool:
        """Whether a frame can be put, or would be dropped; while a full ring is looked at, it waits."""
        return not self.CSR0 & Csr0.RXON or self._starved is None or self.now - self._starved > PATIENCE

    def _next(self) -> tuple[int, int, int, int]:
        """The next receive descriptor: its place, and address, flags and length of its buffer."""
        style = self._style
        place = self.BADR + self._rx * style.size & 0xFFFFFFFF
        return place, *style.parse(self.fetch(place, style.size), self._upper)

    def _look(self, now: int) -> None:
        """See whether the next receive descriptor is ours; look again later if it is not."""
        self.now = now
        self.deadline = None
        if not self.CSR0 & Csr0.RXON or self._next()[2] & Flags.OWN:
            self._starved = None
            return
        self._starved = now if self._starved is None else self._starved
        if now - self._starved <= PATIENCE:
            self.deadline = now + LOOK

    def accept(self, frame: bytes, now: int) -> None:
        """Put a frame into the ring, if it is for us."""
        if not self.CSR0 & Csr0.RXON or len(frame) < 14 or not self._wanted(frame):
            return
        frame = padded(frame)
        body, flags = frame + checksum(frame), Flags.STP
        if not self._next()[2] & Flags.OWN:
            self.CSR0 |= Csr0.MISS
            self.MFC = self.MFC + 1 & 0xFFFF
            return
        rest = body
        while flags & Flags.ENP == 0:
            place, address, _, room = self._next()
            part, rest = rest[:room], rest[room:]
            self.store(address, part)
            following = self._rx = (self._rx + 1) % ((-self.RCVRL & 0xFFFF) or 1)
            if not rest:
                flags |= Flags.ENP
            elif not self._next()[2] & Flags.OWN:
                flags |= Flags.ENP | Flags.ERR | Flags.BUFF
            self._release(place, flags, len(body))
            self.note(f"rx {following - 1}: {len(part)} bytes to {address:#x} {Flags.text(flags)}")
            flags &= ~Flags.STP
        self.CSR0 |= Csr0.RINT
        self._look(now)

    def _release(self, place: int, flags: int, length: int) -> None:
        """Give a receive descriptor back: first the length, then what says that it is the guest's."""
        style = self._style
        if flags & Flags.ENP:
            self.store(place + style.count, struct.pack("<H" if style.size == 8 else "<I", length & 0xFFF))
        at, data = style.flags(flags)
        self.store(place + at, data)

    def _wanted(self, frame: bytes) -> bool:
        to = frame[:6]
        if self.MODE & Mode.PROM:
            return True
        if to == BROADCAST:
            return not self.MODE & Mode.DRCVBC
        if is_multicast(frame):
            bit = hash_bit(to)
            return bool(self.LADRF[bit >> 4] >> (bit & 15) & 1)
        return to == struct.pack("<3H", *self.PADR) and not self.MODE & Mode.DRCVPA
