"""NE2000: a DP8390 network controller, 16 KiB of packet memory and a station address PROM, behind 32 ports.

Source: National Semiconductor DP8390D/NS32490D data sheet; Realtek RTL8029AS data sheet (the PCI version).

Theory of operation. Ports 0 to 15 are the DP8390's registers, in pages that CR selects; 16 to 23 are the data
port, 24 to 31 the reset port. All memory is on the card: a guest reads and writes it through the data port
(*remote DMA*: RSAR is the address, RBCR what remains), word by word if DCR.WTS is set.

To send, the guest puts a frame into the memory, its page and length into TPSR and TBCR, and sets CR.TXP.
Received frames lie in a ring of 256-byte pages from PSTART up to PSTOP, each behind four bytes (status, page
of the next one, length with the checksum). CURR is where the next one goes, BNRY the last page that the guest
has read; a frame that would reach it does not fit. Such frames wait outside, because `receives` is False.
"""

from __future__ import annotations

from wirebay.cards.card import Card, Memory
from wirebay.cards.dp8390_registers import Cr, Dcr, Imr, Isr, Rcr, Rsr, Tcr, Tsr
from wirebay.cards.ethernet import BROADCAST, checksum, hash_bit, is_multicast, padded
from wirebay.cards.pci import Bar, Identity
from wirebay.cards.register import Register, Row

PAGE = 256
RAM_START, RAM_END = 0x4000, 0x8000
PROM = 32
HEADER, CHECKSUM = 4, 4
# What a frame of the longest kind takes in the ring.
ROOM = HEADER + 1518 + CHECKSUM
REGISTERS, DATA_END = 0x10, 0x18
READ, WRITE, SEND = 1, 2, 3  # CR.RD


class Ne2000(Card):
    """The card as it was on ISA, with an I/O BAR of 32 ports in place of the slot.

    The ids are made up, so that no PCI driver takes it; at port 0x300 it is what an ISA driver looks for.
    """

    identity = Identity(vendor=0x1234, device=0x4E45, class_code=0xFF0000, bars=(Bar(32, io=True),))
    title = "NE2000, ISA"
    drivers = "ne"
    # Drivers take long here, and longer to recover from an overflow.
    patience = 500_000

    CR = Register(0x00, "command", bits=Cr, reset=Cr.STP | 0x20)

    CLDA = Register(0x01, "current local DMA address", size=2, access="r", space="0")
    PSTART = Register(0x01, "first page of the receive ring", reset=None, access="w", space="0", mirror="2")
    PSTOP = Register(0x02, "page after the receive ring", reset=None, access="w", space="0", mirror="2")
    BNRY = Register(0x03, "last page that the guest has read", reset=None, space="0")
    TSR = Register(0x04, "transmit status", bits=Tsr, access="r", space="0")
    TPSR = Register(0x04, "page of the frame to send", reset=None, access="w", space="0", mirror="2")
    NCR = Register(0x05, "number of collisions", access="r", space="0")
    TBCR = Register(0x05, "length of the frame to send", size=2, reset=None, access="w", space="0")
    FIFO = Register(0x06, "FIFO", access="r", space="0")
    ISR = Register(0x07, "interrupt status", bits=Isr, reset=Isr.RST, clears=0x7F, writable=0, space="0")
    CRDA = Register(0x08, "current remote DMA address", size=2, access="r", space="0")
    RSAR = Register(0x08, "remote DMA address", size=2, reset=None, access="w", space="0")
    RBCR = Register(0x0A, "bytes of remote DMA that remain", size=2, reset=None, access="w", space="0")
    RSR = Register(0x0C, "receive status", bits=Rsr, access="r", space="0")
    RCR = Register(0x0C, "receive configuration", bits=Rcr, writable=0x3F, access="w", space="0", mirror="2")
    CNTR = Row(0x0D, "tally: alignment, CRC, missed", count=3, read_clears=True, access="r", space="0")
    TCR = Register(0x0D, "transmit configuration", bits=Tcr, writable=0x1F, access="w", space="0", mirror="2")
    DCR = Register(
        0x0E, "data configuration", bits=Dcr, writable=0x7F, reset=None, access="w", space="0", mirror="2"
    )
    IMR = Register(0x0F, "interrupt mask", bits=Imr, writable=0x7F, access="w", space="0", mirror="2")

    PAR = Row(0x01, "station address", count=6, reset=None, space="1")
    CURR = Register(0x07, "page of the next frame received", reset=None, space="1")
    MAR = Row(0x08, "multicast filter", count=8, reset=None, space="1")

    def __init__(self, mac: bytes, memory: Memory | None = None) -> None:
        self.prom = bytes(byte for byte in (*mac, *bytes(8), 0x57, 0x57) for _ in range(2))
        self.ram = bytearray(RAM_END - RAM_START)
        super().__init__(mac, memory)

    # Ports.

    def read(self, bar: int, offset: int, size: int, now: int) -> int:
        """A guest reads: the data port in one go, everything else byte by byte."""
        if REGISTERS <= offset < DATA_END:
            return self._read_data(size)
        total = 0
        for at in range(size):
            total |= self._read_port(offset + at) << 8 * at
        return total

    def write(self, bar: int, offset: int, size: int, value: int, now: int) -> None:
        """A guest writes."""
        if REGISTERS <= offset < DATA_END:
            self._write_data(size, value)
            return
        for at in range(size):
            if offset + at < REGISTERS:
                self.write_space(self._page(offset + at), offset + at, 1, value >> 8 * at & 0xFF)

    def _read_port(self, offset: int) -> int:
        if offset < REGISTERS:
            return self.read_space(self._page(offset), offset, 1)
        if offset & 0x1F >= DATA_END:
            self.note("reset by port")
            self.reset(0)
        return 0

    def _page(self, offset: int) -> str:
        return "" if offset == 0 else "0123"[self.CR >> 6]

    @CR.on_write
    def _command(self, value: int) -> None:
        if value & Cr.STP:
            self.ISR |= Isr.RST
        elif value & Cr.STA:
            self.ISR &= ~Isr.RST
        # Neither bit: the card goes on as it was. Linux writes that all the time.
        remote = (value & Cr.RD) >> 3
        if remote == SEND:
            self.RSAR = self.BNRY << 8
            self.RBCR = int.from_bytes(self._load(self.RSAR + 2, 2), "little")
        if remote in (READ, WRITE, SEND) and self.RBCR == 0:
            self.ISR |= Isr.RDC
        if value & Cr.TXP:
            self.CR &= ~Cr.TXP
            if not value & Cr.STP:
                self._transmit()

    @CRDA.on_read
    def _remote_address(self) -> int:
        return self.RSAR

    @property
    def interrupt(self) -> bool:
        """The level of its interrupt pin."""
        return bool(self.ISR & self.IMR & 0x7F)

    # The memory, and the data port that leads to it.

    def _load(self, address: int, size: int) -> bytes:
        """Memory as the card's bus has it: the PROM, the packet memory, nothing elsewhere."""
        start = address - RAM_START
        if 0 <= start <= len(self.ram) - size:
            return bytes(self.ram[start : start + size])
        return self.prom[address : address + size] if address + size <= PROM else b"\xff" * size

    def _save(self, address: int, data: bytes) -> None:
        start = address - RAM_START
        if 0 <= start <= len(self.ram) - len(data):
            self.ram[start : start + len(data)] = data

    def _read_data(self, size: int) -> int:
        width = 2 if self.DCR & Dcr.WTS else 1
        data = b""
        while len(data) < size:
            data += self._load(self.RSAR & -width, width) if self.RBCR else b"\xff" * width
            self._advance(width)
        return int.from_bytes(data[:size], "little")

    def _write_data(self, size: int, value: int) -> None:
        width = 2 if self.DCR & Dcr.WTS else 1
        data = value.to_bytes(max(size, width), "little")
        for at in range(0, size, width):
            if self.RBCR:
                self._save(self.RSAR & -width, data[at : at + width])
            self._advance(width)

    def _advance(self, width: int) -> None:
        if not self.RBCR:
            return
        self.RSAR = self.RSAR + width & 0xFFFF
        if self.RSAR == self.PSTOP << 8:
            self.RSAR = self.PSTART << 8
        self.RBCR = max(0, self.RBCR - width)
        if not self.RBCR:
            self.ISR |= Isr.RDC

    # Sending and receiving.

    def _transmit(self) -> None:
        start, length = (self.TPSR << 8) - RAM_START, self.TBCR
        if not 0 <= start <= len(self.ram) - length:
            self.TSR = Tsr.FU
            self.ISR |= Isr.TXE
            return
        frame = bytes(self.ram[start : start + length])
        self.note(f"sends {length} bytes from page {self.TPSR:#x}")
        if self.TCR & Tcr.CRC:
            frame = frame[:-CHECKSUM]
        if not self.TCR & Tcr.LB and len(frame) >= 14:
            self.send(frame)
        self.TSR = Tsr.PTX
        self.ISR |= Isr.PTX

    @property
    def _listens(self) -> bool:
        return not self.ISR & Isr.RST and not self.TCR & Tcr.LB

    @property
    def receives(self) -> bool:
        """Whether it can take a frame now."""
        buffers = self._listens and not self.RCR & Rcr.MON
        pages = -(-ROOM // PAGE)
        return not buffers or self._free_pages() > pages or pages >= self.PSTOP - self.PSTART

    def _free_pages(self) -> int:
        used = self.CURR - self.BNRY
        return -used if used < 0 else self.PSTOP - self.PSTART - used

    def accept(self, frame: bytes, now: int) -> None:
        """Put a frame into the ring, if it is for us."""
        if not self._listens or len(frame) < 14 or not self._wanted(frame):
            return
        self.RSR = Rsr.PRX | (Rsr.PHY if is_multicast(frame) else 0)
        frame = padded(frame)
        body = frame + checksum(frame)
        pages = -(-(HEADER + len(body)) // PAGE)
        if self.RCR & Rcr.MON:
            self._missed()
        elif pages >= self._free_pages():
            self.ISR |= Isr.OVW
            self._missed()
        else:
            self._buffer(body, pages)

    def overflow(self, now: int) -> None:
        """The ring is full."""
        self.ISR |= Isr.OVW

    def _missed(self) -> None:
        self.RSR = self.RSR & ~Rsr.PRX | Rsr.MPA
        self.CNTR[2] = min(self.CNTR[2] + 1, 0xFF)
        if self.CNTR[2] & 0x80:
            self.ISR |= Isr.CNT

    def _buffer(self, body: bytes, pages: int) -> None:
        following = self.CURR + pages
        if following >= self.PSTOP:
            following -= self.PSTOP - self.PSTART
        header = bytes((self.RSR, following & 0xFF)) + len(body).to_bytes(2, "little")
        page, data = self.CURR, header + body
        for at in range(0, len(data), PAGE):
            self._save(page << 8, data[at : at + PAGE])
            page = page + 1 if page + 1 != self.PSTOP else self.PSTART
        self.note(f"receives {len(body)} bytes to page {self.CURR:#x}, next {following:#x}")
        self.CURR = following & 0xFF
        self.ISR |= Isr.PRX

    def _wanted(self, frame: bytes) -> bool:
        if frame[:6] == BROADCAST:
            return bool(self.RCR & Rcr.AB)
        if is_multicast(frame):
            bit = hash_bit(frame)
            return bool(self.RCR & Rcr.AM and self.MAR[bit >> 3] >> (bit & 7) & 1)
        return bool(self.RCR & Rcr.PRO) or list(frame[:6]) == self.PAR


class Ne2kPci(Ne2000):
    """The Realtek RTL8029AS: the same core on PCI, with registers of its own on page 3."""

    identity = Identity(
        vendor=0x10EC, device=0x8029, sub_vendor=0x10EC, sub_device=0x8029, bars=(Bar(256, io=True),)
    )
    title = "NE2000, PCI (Realtek RTL8029AS)"
    drivers = "ne2k-pci"

    ID = Register(0x0A, "8029ID: the letters 'PC'", size=2, reset=0x4350, access="r", space="0")
    CR9346 = Register(0x01, "EEPROM command", reset=0, space="3")
    CONFIG0 = Register(0x03, "configuration 0", access="r", space="3")
    CONFIG2 = Register(0x05, "configuration 2: the medium", access="r", space="3")
    CONFIG3 = Register(0x06, "configuration 3: full duplex is bit 6", reset=0x40, space="3")
    ASID = Register(0x0E, "8029ASID", size=2, reset=0x8029, access="r", space="3")
