"""Everything of the Am79C970A but its rings: ports, control and bus registers, interrupts, link.

Source: AMD Am79C970A data sheet.
"""

from __future__ import annotations

import struct

from wirebay.cards.card import Card, Memory
from wirebay.cards.pci import Bar, Identity
from wirebay.cards.pcnet_registers import STYLES, Csr0, Csr3, Csr4, Mode, Style, Sws
from wirebay.cards.register import Register, Row

CHIP = 0x02621003
APROM = 16
STATUS = 0x7F00  # of CSR0: cleared by writing 1
CAUSES = 0x5F00
LINK_LED = 0x8000


class PcnetBase(Card):
    """The chip without rings."""

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
