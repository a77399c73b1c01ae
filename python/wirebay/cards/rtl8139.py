"""Realtek RTL8139C, revision 0x10: the card of the driver 8139too.

Source: Realtek RTL8139C data sheet.

Theory of operation. To send, the guest puts the address of a frame into one of four TSAD, and its length with
OWN clear into the TSD beside it; the engine takes the four in turn, sends, and sets OWN and TOK.

Received frames go one behind the other into a single ring of 8 to 64 KiB at RBSTART: status, length with the
checksum, the frame, the checksum, up to the next multiple of four. CBR is where the next one goes; CAPR is
where the guest reads, minus 16. Frames that would meet it wait outside (`receives`).
"""

from __future__ import annotations

import struct

from wirebay.cards.card import Card, Memory
from wirebay.cards.eeprom import Eeprom, words
from wirebay.cards.ethernet import BROADCAST, checksum, hash_bit, is_multicast, padded
from wirebay.cards.pci import Bar, Identity
from wirebay.cards.register import Register, Row
from wirebay.cards.rtl8139_registers import Cr, Cr9346, Isr, Msr, Rcr, RxStatus, Tcr, Tsd

VENDOR, DEVICE = 0x10EC, 0x8139
VERSION = 0x74000000  # TCR.HWVERID of the RTL8139C
MODE = 0xC0
NORMAL, LOAD, PINS, CONFIG = 0x00, 0x40, 0x80, 0xC0  # 9346CR.EEM
ADDRESS_WORD = 7  # in the EEPROM
DESCRIPTORS = 4
HEADER, CHECKSUM = 4, 4
ROOM = HEADER + 1518 + CHECKSUM
BEHIND = 16  # how far CAPR is behind
CLOCK = 33  # ticks of TCTR in a microsecond
BMSR_LINK = 0x0024  # link, and autonegotiation is complete


class Rtl8139(Card):
    """The card."""

    identity = Identity(
        vendor=VENDOR,
        device=DEVICE,
        revision=0x10,
        sub_vendor=VENDOR,
        sub_device=DEVICE,
        bars=(Bar(256, io=True), Bar(256)),
        latency=(0x20, 0x40),
    )
    title = "Realtek RTL8139C"
    drivers = "8139too"
    # That driver leaves frames in the ring, acknowledged, after a budget of 64; any cause makes it go on.
    patience = 1000

    IDR = Row(0x00, "station address", count=6)
    MAR = Row(0x08, "multicast filter", count=8)
    TSD = Row(0x10, "transmit status", size=4, count=4, bits=Tsd, reset=Tsd.OWN, writable=0x3F3FFF)
    TSAD = Row(0x20, "transmit address", size=4, count=4)
    RBSTART = Register(0x30, "receive buffer", size=4)
    ERBCR = Register(0x34, "early receive bytes", size=2, access="r")
    ERSR = Register(0x36, "early receive status", access="r")
    CR = Register(0x37, "command", bits=Cr, writable=Cr.TE | Cr.RE)
    CAPR = Register(0x38, "where the guest reads, minus 16", size=2, reset=0xFFF0)
    CBR = Register(0x3A, "where the next frame goes", size=2, access="r")
    IMR = Register(0x3C, "interrupt mask", size=2, bits=Isr)
    ISR = Register(0x3E, "interrupt status", size=2, bits=Isr, clears=0xFFFF, writable=0)
    TCR = Register(0x40, "transmit configuration", size=4, bits=Tcr, reset=VERSION, writable=0x030707F0)
    RCR = Register(0x44, "receive configuration", size=4, bits=Rcr, writable=0x0F03FFBF)
    TCTR = Register(0x48, "timer; writing sets it to 0", size=4)
    MPC = Register(0x4C, "missed frames; writing clears", size=4, writable=0)
    CR9346 = Register(0x50, "EEPROM command", bits=Cr9346, writable=0xCE)
    CONFIG0 = Register(0x51, "configuration 0")
    CONFIG1 = Register(0x52, "configuration 1", reset=0x0C)
    TIMERINT = Register(0x54, "timer interrupt", size=4)
    MSR = Register(0x58, "media status", bits=Msr, writable=0xC0, reset=Msr.AUX)
    CONFIG3 = Register(0x59, "configuration 3")
    CONFIG4 = Register(0x5A, "configuration 4")
    MULINT = Register(0x5C, "multiple interrupt", size=2)
    RERID = Register(0x5E, "PCI revision", access="r", reset=0x10)
    TSAD_STATUS = Register(0x60, "transmit status of all", size=2, access="r")
    BMCR = Register(0x62, "PHY control", size=2, reset=0x1000, writable=0x3100)
    BMSR = Register(0x64, "PHY status", size=2, reset=0x7809, access="r")
    ANAR = Register(0x66, "advertised", size=2, reset=0x05E1)
    ANLPAR = Register(0x68, "the link partner's", size=2, reset=0x45E1, access="r")
    ANER = Register(0x6A, "expansion", size=2, reset=0x0001, access="r")
    DIS = Register(0x6C, "disconnects", size=2, access="r")
    FCSC = Register(0x6E, "false carriers", size=2, access="r")
    NWAYTR = Register(0x70, "N-way test", size=2)
    REC = Register(0x72, "receive errors", size=2, access="r")
    CSCR = Register(0x74, "CS configuration", size=2, reset=0x07C8)
    PHY1_PARM = Register(0x78, "PHY parameter 1", size=4)
    TW_PARM = Register(0x7C, "twister parameter", size=4)
    PHY2_PARM = Register(0x80, "PHY parameter 2")

    def __init__(self, mac: bytes, memory: Memory | None = None) -> None:
        ids = struct.pack("<7H", 0x8129, VENDOR, DEVICE, VENDOR, DEVICE, 0x4020, 0xE112)
        self.eeprom = Eeprom(words(ids + mac))
        self.now = 0
        super().__init__(mac, memory)

    def reset(self, now: int) -> None:
        """As after power-on."""
        super().reset(now)
        self.now = self._timer_start = now
        self._current = 0
        self._load_address()

    def read(self, bar: int, offset: int, size: int, now: int) -> int:
        """A guest reads; ports and memory are the same."""
        self.now = now
        return super().read(bar, offset, size, now)

    def write(self, bar: int, offset: int, size: int, value: int, now: int) -> None:
        """A guest writes."""
        self.now = now
        super().write(bar, offset, size, value, now)

    @property
    def interrupt(self) -> bool:
        """The level of its interrupt pin."""
        return bool(self.ISR & self.IMR)

    @CR.on_write
    def _command(self, value: int) -> None:
        if value & Cr.RST:
            self._soft_reset()
        self.busy = True

    def _soft_reset(self) -> None:
        """The reset bit: addresses and the configuration stay."""
        self.note("reset by CR")
        kept = self.IDR, self.MAR, self.CONFIG1, self.CR9346
        self.reset(self.now)
        self.IDR, self.MAR, self.CONFIG1, self.CR9346 = kept

    @CR.on_read
    def _see_command(self) -> int:
        empty = self._used() == 0
        return self.CR | (Cr.BUFE if empty else 0)

    # EEPROM and configuration.

    def _load_address(self) -> None:
        loaded = self.eeprom.words[ADDRESS_WORD : ADDRESS_WORD + 3]
        self.IDR = [byte for word in loaded for byte in word.to_bytes(2, "little")]

    @CR9346.on_write
    def _drive_eeprom(self, value: int) -> None:
        if value & MODE == LOAD:
            self._load_address()
            self.CR9346 = NORMAL
        chip = value if value & MODE == PINS else 0
        self.eeprom.drive(bool(chip & Cr9346.EECS), bool(chip & Cr9346.EESK), bool(chip & Cr9346.EEDI))

    @CR9346.on_read
    def _see_eeprom(self) -> int:
        return self.CR9346 | (Cr9346.EEDO if self.eeprom.output else 0)

    # Link.

    @MSR.on_read
    def _see_media(self) -> int:
        return self.MSR | (0 if self.link else Msr.LINKB)

    @BMSR.on_read
    def _see_phy(self) -> int:
        return self.BMSR | (BMSR_LINK if self.link else 0)

    def set_link(self, up: bool) -> None:
        """Plug the cable in or out."""
        if up != self.link:
            self.link = up
            self.ISR |= Isr.PUN

    # Timer.

    @TCTR.on_read
    def _see_timer(self) -> int:
        return (self.now - self._timer_start) * CLOCK & 0xFFFFFFFF

    @TCTR.on_write
    def _clear_timer(self, value: int) -> None:
        self._timer_start = self.now
        self._set_timer()

    @TIMERINT.on_write
    def _timer_interrupt(self, value: int) -> None:
        self._set_timer()

    def _set_timer(self) -> None:
        at = self._timer_start + -(-self.TIMERINT // CLOCK)
        self.deadline = at if self.TIMERINT and at > self.now else None

    @MPC.on_write
    def _clear_missed(self, value: int) -> None:
        self.MPC = 0

    # Sending.

    @TSD.on_write
    def _transmit(self, index: int, value: int) -> None:
        self.TSD[index] &= Tsd.SIZE | Tsd.OWN | Tsd.ERTXTH
        self.busy = True

    @TSAD_STATUS.on_read
    def _see_all(self) -> int:
        rows = ((Tsd.OWN, 0), (Tsd.TABT, 4), (Tsd.TUN, 8), (Tsd.TOK, 12))
        return sum(bool(self.TSD[index] & bit) << index + place for index in range(4) for bit, place in rows)

    def work(self, now: int) -> None:
        """Send what is there, at most one of each descriptor; and tell of the timer."""
        if self.deadline is not None and self.deadline <= now:
            self.deadline = None
            self.ISR |= Isr.TIMEOUT
        for _ in range(DESCRIPTORS):
            index = self._current
            if not self.CR & Cr.TE or self.TSD[index] & Tsd.OWN:
                return
            self._send(index)

    def _send(self, index: int) -> None:
        length = self.TSD[index] & Tsd.SIZE
        self.note(f"tx {index}: {length} bytes at {self.TSAD[index]:#x}")
        frame = self.fetch(self.TSAD[index], length)
        if self.TCR & Tcr.CRC:
            frame = frame[:-CHECKSUM]
        self.TSD[index] |= Tsd.OWN | Tsd.TOK
        self._current = (index + 1) % DESCRIPTORS
        self.ISR |= Isr.TOK
        if len(frame) < 14:
            return
        if self.TCR & Tcr.LBK == Tcr.LBK:
            self.accept(frame, self.now)
        else:
            self.send(frame)

    def failed(self) -> None:
        """A bus access failed: nothing is sent any more until the guest has reset the card."""
        self.ISR |= Isr.SERR
        self.CR &= ~Cr.TE

    # Receiving.

    def _size(self) -> int:
        return 8192 << (self.RCR >> 11 & 3)

    def _used(self) -> int:
        return (self.CBR - self.CAPR - BEHIND) % self._size()

    @property
    def receives(self) -> bool:
        """Whether there is room for the longest frame; with the receiver off, frames are dropped."""
        return not self.CR & Cr.RE or self._size() - self._used() > ROOM + 4

    def accept(self, frame: bytes, now: int) -> None:
        """Put a frame into the ring, if it is for us."""
        if not self.CR & Cr.RE or len(frame) < 14:
            return
        status = self._filter(frame)
        if not status:
            return
        frame = padded(frame)
        body = frame + checksum(frame)
        length = HEADER + len(body) + 3 & -4
        if length >= self._size() - self._used():
            self.MPC = self.MPC + 1 & 0xFFFFFF
            self.ISR |= Isr.RXOVW
            return
        data = struct.pack("<HH", status | RxStatus.ROK, len(body)) + body
        self.note(f"rx at {self.CBR:#x}: {len(body)} bytes {RxStatus.text(status)}")
        place = self.CBR % self._size()
        self._save(place, data)
        self.CBR = (place + length) % self._size()
        self.ISR |= Isr.ROK

    def overflow(self, now: int) -> None:
        """The ring is full, and the next frame in the FIFO."""
        self.ISR |= Isr.RXOVW

    def _save(self, place: int, data: bytes) -> None:
        """Put data into the ring: what is behind its end goes on at its start, unless WRAP says not to."""
        room = len(data)
        if not self.RCR & Rcr.WRAP or self._size() == 1 << 16:
            room = self._size() - place
        start = self.RBSTART
        self.store(start + place & 0xFFFFFFFF, data[:room])
        if data[room:]:
            self.store(start, data[room:])

    def _filter(self, frame: bytes) -> int:
        """What the address says, in the status of a frame; 0: it is for others."""
        to, rcr = frame[:6], self.RCR
        if to == BROADCAST:
            return RxStatus.BAR if rcr & (Rcr.AB | Rcr.AAP) else 0
        if is_multicast(frame):
            bit = hash_bit(to)
            passes = rcr & Rcr.AM and self.MAR[bit >> 3] >> (bit & 7) & 1
            return RxStatus.MAR if passes or rcr & Rcr.AAP else 0
        if list(to) == self.IDR:
            return RxStatus.PAM if rcr & (Rcr.APM | Rcr.AAP) else 0
        return RxStatus.ROK if rcr & Rcr.AAP else 0
