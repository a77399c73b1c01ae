"""The bits of the RTL8139's registers (Realtek RTL8139C data sheet, section 6)."""

from __future__ import annotations

from wirebay.cards.register import Bits


class Tsd(Bits):
    """Transmit status of one descriptor."""

    SIZE = 0x1FFF
    OWN = 0x2000  # the card is done with it
    TUN = 0x4000
    TOK = 0x8000  # sent
    ERTXTH = 0x3F0000
    NCC = 0xF000000
    CDH = 1 << 28
    OWC = 1 << 29
    TABT = 1 << 30
    CRS = 1 << 31


class Cr(Bits):
    """Command."""

    BUFE = 0x01  # the receive buffer is empty
    TE = 0x04
    RE = 0x08
    RST = 0x10  # clears itself


class Isr(Bits):
    """Interrupt status and mask."""

    ROK = 0x0001
    RER = 0x0002
    TOK = 0x0004
    TER = 0x0008
    RXOVW = 0x0010  # the receive buffer is full
    PUN = 0x0020  # the link has changed
    FOVW = 0x0040
    LENCHG = 0x2000
    TIMEOUT = 0x4000
    SERR = 0x8000  # a bus access failed


class Tcr(Bits):
    """Transmit configuration."""

    CLRABT = 0x1
    TXRR = 0xF0
    MXDMA = 0x700
    CRC = 0x10000  # the driver puts the checksum in
    LBK = 0x60000  # loopback if both are set
    IFG = 0x3000000
    HWVERID = 0x7CC00000


class Rcr(Bits):
    """Receive configuration."""

    AAP = 0x01  # every address
    APM = 0x02  # ours
    AM = 0x04  # multicast, by the filter
    AB = 0x08  # broadcast
    AR = 0x10
    AER = 0x20
    WRAP = 0x80  # a frame goes on behind the end of the buffer
    MXDMA = 0x700
    RBLEN = 0x1800
    RXFTH = 0xE000
    RER8 = 0x10000
    MULERINT = 0x20000
    ERTH = 0xF000000


class Cr9346(Bits):
    """EEPROM command: the mode, and the pins of the chip."""

    EEDO = 0x01
    EEDI = 0x02
    EESK = 0x04
    EECS = 0x08
    EEM = 0xC0  # 0 normal, 1 load, 2 pins, 3 the configuration may be written


class Msr(Bits):
    """Media status."""

    RXPF = 0x01
    TXPF = 0x02
    LINKB = 0x04  # no link
    SPEED_10 = 0x08
    AUX = 0x10


class RxStatus(Bits):
    """Status before a received frame."""

    ROK = 0x0001
    FAE = 0x0002
    CRC = 0x0004
    LONG = 0x0008
    RUNT = 0x0010
    ISE = 0x0020
    BAR = 0x2000  # broadcast
    PAM = 0x4000  # our address
    MAR = 0x8000  # multicast
