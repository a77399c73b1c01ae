"""The bits of the DP8390's registers (National Semiconductor DP8390D data sheet, section 10)."""

from __future__ import annotations

from wirebay.cards.register import Bits


class Cr(Bits):
    """Command."""

    STP = 0x01  # stop: software reset
    STA = 0x02  # start
    TXP = 0x04  # transmit a packet
    RD = 0x38  # remote DMA: 1 read, 2 write, 3 send packet, 4 and up: abort or complete
    PS = 0xC0  # page


class Isr(Bits):
    """Interrupt status."""

    PRX = 0x01  # packet received
    PTX = 0x02  # packet transmitted
    RXE = 0x04  # receive error
    TXE = 0x08  # transmit error
    OVW = 0x10  # the receive ring is full
    CNT = 0x20  # a tally counter is half full
    RDC = 0x40  # remote DMA complete
    RST = 0x80  # stopped


class Imr(Bits):
    """Interrupt mask."""

    PRXE = 0x01
    PTXE = 0x02
    RXEE = 0x04
    TXEE = 0x08
    OVWE = 0x10
    CNTE = 0x20
    RDCE = 0x40


class Dcr(Bits):
    """Data configuration."""

    WTS = 0x01  # remote DMA goes by words
    BOS = 0x02
    LAS = 0x04
    LS = 0x08  # normal operation; 0: loopback
    ARM = 0x10
    FT = 0x60


class Tcr(Bits):
    """Transmit configuration."""

    CRC = 0x01
    LB = 0x06  # loopback, unless 0
    ATD = 0x08
    OFST = 0x10


class Tsr(Bits):
    """Transmit status."""

    PTX = 0x01  # transmitted
    COL = 0x04
    ABT = 0x08
    CRS = 0x10
    FU = 0x20  # the packet lies outside of the memory
    CDH = 0x40
    OWC = 0x80


class Rcr(Bits):
    """Receive configuration."""

    SEP = 0x01
    AR = 0x02  # runts too
    AB = 0x04  # broadcast
    AM = 0x08  # multicast, by the filter
    PRO = 0x10  # every address
    MON = 0x20  # check and count, do not buffer


class Rsr(Bits):
    """Receive status."""

    PRX = 0x01  # received intact
    CRC = 0x02
    FAE = 0x04
    FO = 0x08
    MPA = 0x10  # missed
    PHY = 0x20  # the address was a group's
    DIS = 0x40  # the receiver is off
    DFR = 0x80
