"""The bits of the Am79C970A's registers, and its descriptors (AMD PCnet-PCI II data sheet)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from wirebay.cards.register import Bits


class Csr0(Bits):
    """Controller status and control."""

    INIT = 0x0001
    STRT = 0x0002
    STOP = 0x0004
    TDMD = 0x0008  # look at the transmit ring now
    TXON = 0x0010
    RXON = 0x0020
    IENA = 0x0040
    INTR = 0x0080
    IDON = 0x0100
    TINT = 0x0200
    RINT = 0x0400
    MERR = 0x0800
    MISS = 0x1000
    CERR = 0x2000
    BABL = 0x4000
    ERR = 0x8000


class Csr3(Bits):
    """Interrupt masks and deferral."""

    BSWP = 0x0004
    EMBA = 0x0008
    DXMT2PD = 0x0010
    LAPPEN = 0x0020
    DXSUFLO = 0x0040
    IDONM = 0x0100
    TINTM = 0x0200
    RINTM = 0x0400
    MERRM = 0x0800
    MISSM = 0x1000
    BABLM = 0x4000


class Csr4(Bits):
    """Test and features."""

    JABM = 0x0001
    JAB = 0x0002
    TXSTRTM = 0x0004
    TXSTRT = 0x0008
    RCVCCOM = 0x0010
    RCVCCO = 0x0020
    UINT = 0x0040
    UINTCMD = 0x0080
    MFCOM = 0x0100
    MFCO = 0x0200
    ASTRP_RCV = 0x0400
    APAD_XMT = 0x0800
    DPOLL = 0x1000
    TIMER = 0x2000
    DMAPLUS = 0x4000
    ENTST = 0x8000


class Mode(Bits):
    """CSR15."""

    DRX = 0x0001
    DTX = 0x0002
    LOOP = 0x0004
    DXMTFCS = 0x0008  # the driver puts the checksum in
    FCOLL = 0x0010
    DRTY = 0x0020
    INTL = 0x0040
    PORTSEL = 0x0180
    TSEL = 0x0200
    MENDECL = 0x0400
    DAPC = 0x0800
    DLNKTST = 0x1000
    DRCVPA = 0x2000
    DRCVBC = 0x4000
    PROM = 0x8000


class Sws(Bits):
    """BCR20, software style."""

    SWSTYLE = 0x00FF
    SSIZE32 = 0x0100
    CSRPCNET = 0x0200


class Flags(Bits):
    """What both kinds of descriptors say beside their length."""

    ENP = 0x0100
    STP = 0x0200
    BUFF = 0x0400  # received only: the next buffer was not ours
    ADD_FCS = 0x2000  # to send only
    ERR = 0x4000
    OWN = 0x8000  # the card's


@dataclass(frozen=True, slots=True)
class Style:
    """How descriptors lie in memory: the size of one, and where its parts are."""

    size: int
    address: int
    control: int
    count: int

    def parse(self, data: bytes, upper: int) -> tuple[int, int, int]:
        """Address, flags and length of the buffer; `upper` are the bits that a short address lacks."""
        if self.size == 8:
            low, count = struct.unpack_from("<IH", data)
            address, word = upper | low & 0xFFFFFF, low >> 16 & 0xFF00
        else:
            (address,) = struct.unpack_from("<I", data, self.address)
            count, word = struct.unpack_from("<HH", data, self.control)
        return address, word, (-count & 0xFFF) or 4096

    def flags(self, flags: int) -> tuple[int, bytes]:
        """Where the byte of flags is, and what to write to it."""
        return (3 if self.size == 8 else self.control + 3), bytes((flags >> 8,))


STYLES = {
    0: Style(size=8, address=0, control=2, count=6),
    1: Style(size=16, address=0, control=4, count=8),
    2: Style(size=16, address=0, control=4, count=8),
    3: Style(size=16, address=8, control=4, count=0),
}
