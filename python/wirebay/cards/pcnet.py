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

from wirebay.cards.card import Card, Memory
from wirebay.cards.ethernet import BROADCAST, checksum, hash_bit, is_multicast, padded
from wirebay.cards.pci import Bar, Identity
from wirebay.cards.pcnet_registers import STYLES, Csr0, Csr3, Csr4, Flags, Mode, Style, Sws
from wirebay.cards.register import Register, Row

CHIP = 0x02621003
APROM = 16
QUANTUM = 64
LONGEST_PACKET = 4096
# Microseconds between two looks at a receive ring that is full, and after which frames are missed.
LOOK, PATIENCE = 500, 20_000
STATUS = 0x7F00  # of CSR0: cleared by writing 1
CAUSES = 0x5F00
LINK_LED = 0x8000


class Pcnet(Card):
    """The card."""

    identity = Identity(
        vendor=0x1022, device=0x2000, revision=0x10, bars=(Bar(32, io=True), Bar(32)), latency=(6, 0xFF)
    )
    title = "AMD Am79C970A (PCnet-PCI II)"
    drivers = "pcnet32"

    APROM = Row(0x00, "address PROM", count=APROM, access="r", reset=None)

    CSR0 = Register(0, "status and control", size=2, bits=Csr0, reset=Csr0.STOP, clears=STATUS, writable=0x40,
                    space="csr")  # fmt: skip
    IADR = Register(2, "initialization block", size=4, reset=None, space="csr")
    CSR3 = Register(6, "interrupt masks", size=2, bits=Csr3, writable=0x5F7C, space="csr")
    CSR4 = Register(
        8, "features", size=2, bits=Csr4, reset=0x0115, clears=0x026A, writable=0xFD95, space="csr"
    )
    CSR5 = Register(10, "extended control", size=2, space="csr")
    LADRF = Row(16, "multicast filter", size=2, count=4, reset=None, space="csr")
    PADR = Row(24, "station address", size=2, count=3, reset=None, space="csr")
    MODE = Register(30, "mode", size=2, bits=Mode, space="csr")
    BADR = Register(48, "receive ring", size=4, reset=None, space="csr")
    BADX = Register(60, "transmit ring", size=4, reset=None, space="csr")
    CSR58 = Register(116, "software style", size=2, bits=Sws, space="csr")
    RCVRL = Register(152, "length of the receive ring, negative", size=2, reset=None, space="csr")
    XMTRL = Register(156, "length of the transmit ring, negative", size=2, reset=None, space="csr")
    CHIPID = Register(176, "chip", size=4, reset=CHIP, access="r", space="csr")
    MFC = Register(224, "missed frames", size=2, access="r", space="csr")
    RCC = Register(228, "collisions", size=2, access="r", space="csr")

    MSRDA = Register(0, "reserved", size=2, reset=5, access="r", space="bcr")
    MSWRA = Register(2, "reserved", size=2, reset=5, access="r", space="bcr")
    MC = Register(4, "miscellaneous configuration", size=2, reset=2, space="bcr")
    LNKST = Register(8, "link LED", size=2, reset=0xC0, writable=0x7FFF, space="bcr")
    LED1 = Register(10, "LED 1", size=2, reset=0x84, writable=0x7FFF, space="bcr")
    LED2 = Register(12, "LED 2", size=2, reset=0x88, writable=0x7FFF, space="bcr")
    LED3 = Register(14, "LED 3", size=2, reset=0x90, writable=0x7FFF, space="bcr")
    FDC = Register(18, "full duplex", size=2, writable=0x7, space="bcr")
    BSBC = Register(36, "bus control", size=2, reset=0x9001, writable=0x9B7F & ~0x80, space="bcr")
    EECAS = Register(38, "EEPROM", size=2, reset=0x0002, writable=0x1F, space="bcr")
    SWS = Register(40, "software style", size=2, bits=Sws, reset=Sws.CSRPCNET, writable=0xFF, space="bcr")
    PCILAT = Register(44, "PCI latency", size=2, reset=0xFF06, space="bcr")

    def __init__(self, mac: bytes, memory: Memory | None = None) -> None:
        self.rap = 0
        self.now = 0
        super().__init__(mac, memory)
        prom = mac + bytes((0, 0, 0, 0x11, 0, 0, 0, 0, 0x57, 0x57))
        total = (sum(prom[:12]) + sum(prom[14:])).to_bytes(2, "little")
        self.APROM = [*prom[:12], *total, *prom[14:]]

    def reset(self, now: int) -> None:
        """As after power-on."""
        super().reset(now)
        self.wide = False
        self.PADR = list(struct.unpack("<3H", self.mac))
        self._stop()

    def _soft_reset(self) -> None:
        """By the reset port: the bus registers and the width of the ports stay."""
        self.note("reset by port")
        kept = {one.name: self.__dict__[one.name] for one in self.spaces["bcr"].registers}
        wide = self.wide
        self.reset(self.now)
        self.__dict__ |= kept
        self.wide = wide

    def _stop(self) -> None:
        self._tx = self._rx = 0
        self._packet = bytearray()
        self._packing = self._initializing = self._starting = False
        self._starved: int | None = None
        self.deadline = None

    # Ports.

    def _port(self, offset: int, size: int) -> str:
        """The port at an offset, for an access of that size."""
        if self.wide or size == 4:
            return {0x10: "RDP", 0x14: "RAP", 0x18: "RESET", 0x1C: "BDP"}.get(offset, "")
        return {0x10: "RDP", 0x12: "RAP", 0x14: "RESET", 0x16: "BDP"}.get(offset, "")

    def read(self, bar: int, offset: int, size: int, now: int) -> int:
        """A guest reads; ports and memory are the same."""
        self.now = now
        if offset < APROM:
            return self.read_space("", offset, size)
        port = self._port(offset, size)
        if port == "RAP":
            return self.rap
        if port == "RESET":
            self._soft_reset()
        if port in ("RDP", "BDP"):
            return self.read_space("csr" if port == "RDP" else "bcr", 2 * self.rap, 2) & (1 << 8 * size) - 1
        return 0

    def write(self, bar: int, offset: int, size: int, value: int, now: int) -> None:
        """A guest writes."""
        self.now = now
        if offset == 0x10 and size == 4 and not self.wide:
            self.wide = True
            self.note("ports are 32 bits wide now")
        port = self._port(offset, size)
        if port == "RAP":
            self.rap = value & 0x7F
        elif port in ("RDP", "BDP"):
            self.write_space("csr" if port == "RDP" else "bcr", 2 * self.rap, 2, value & 0xFFFF)

    # Control.

    @CSR0.on_write
    def _control(self, value: int) -> None:
        if value & Csr0.STOP:
            self.CSR0 = Csr0.STOP
            self.epoch += 1
            self._stop()
            return
        # Both stay set until STOP; drivers write back what they have read, which means nothing then.
        if value & ~self.CSR0 & Csr0.INIT:
            self.CSR0 |= Csr0.INIT
            self._initializing = True
        if value & ~self.CSR0 & Csr0.STRT:
            self.CSR0 |= Csr0.STRT
            self._starting = True
        if value & (Csr0.INIT | Csr0.STRT | Csr0.TDMD):
            self.CSR0 &= ~Csr0.STOP
            self.busy = True

    @CSR0.on_read
    def _see_control(self) -> int:
        error = Csr0.ERR if self.CSR0 & (Csr0.BABL | Csr0.CERR | Csr0.MISS | Csr0.MERR) else 0
        return self.CSR0 | error | (Csr0.INTR if self._cause() else 0)

    def _cause(self) -> bool:
        return bool(
            self.CSR0 & ~self.CSR3 & CAUSES or self.CSR4 & 0x2A & ~(self.CSR4 << 1) or self.CSR4 & Csr4.UINT
        )

    @property
    def interrupt(self) -> bool:
        """The level of its interrupt pin."""
        return bool(self.CSR0 & Csr0.IENA) and self._cause()

    @CSR4.on_write
    def _features(self, value: int) -> None:
        if value & Csr4.UINTCMD:
            self.CSR4 = self.CSR4 & ~Csr4.UINTCMD | Csr4.UINT

    @SWS.on_write
    def _software_style(self, value: int) -> None:
        style = value & Sws.SWSTYLE
        self.SWS = style | (Sws.SSIZE32 if style in (1, 2, 3) else 0) | (Sws.CSRPCNET if style != 1 else 0)

    @CSR58.on_write
    def _software_style_too(self, value: int) -> None:
        self._software_style(value)

    @CSR58.on_read
    def _see_software_style(self) -> int:
        return self.SWS

    @BSBC.on_read
    def _see_width(self) -> int:
        return self.BSBC | (0x80 if self.wide else 0)

    @LNKST.on_read
    def _see_link(self) -> int:
        return self.LNKST | (LINK_LED if self.link else 0)

    def set_link(self, up: bool) -> None:
        """Plug the cable in or out; the chip has no interrupt for that."""
        self.link = up

    @property
    def _style(self) -> Style:
        return STYLES.get(self.SWS & Sws.SWSTYLE, STYLES[0])

    @property
    def _upper(self) -> int:
        """The bits that a 24-bit address lacks."""
        return self.IADR & 0xFF000000

    def failed(self) -> None:
        """A bus access failed."""
        self.CSR0 = (self.CSR0 | Csr0.MERR) & ~(Csr0.TXON | Csr0.RXON)

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
