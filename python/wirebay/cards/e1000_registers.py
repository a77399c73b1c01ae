"""The bits of the 82540EM's registers (Intel, PCI/PCI-X Gigabit Ethernet Controllers, chapter 13)."""

from __future__ import annotations

from wirebay.cards.register import Bits


class Ctrl(Bits):
    """Device control."""

    FD = 0x1
    ASDE = 0x20
    SLU = 0x40  # set link up
    ILOS = 0x80
    SPEED = 0x300
    FRCSPD = 0x800
    FRCDPLX = 0x1000
    RST = 1 << 26  # reset; clears itself
    RFCE = 1 << 27
    TFCE = 1 << 28
    VME = 1 << 30  # VLAN tags are handled
    PHY_RST = 1 << 31


class Status(Bits):
    """Device status."""

    FD = 0x1
    LU = 0x2  # the link is up
    TXOFF = 0x10
    SPEED = 0xC0
    ASDV = 0x300


class Eecd(Bits):
    """EEPROM control: the pins of the chip, and who may use them."""

    SK = 0x1
    CS = 0x2
    DI = 0x4
    DO = 0x8
    FWE = 0x30
    REQ = 0x40
    GNT = 0x80
    PRES = 0x100
    SIZE = 0x200


class Eerd(Bits):
    """EEPROM read."""

    START = 0x1
    DONE = 0x10
    ADDR = 0xFF00
    DATA = 0xFFFF0000


class Mdic(Bits):
    """Access to the PHY."""

    DATA = 0xFFFF
    REGADD = 0x1F0000
    PHYADD = 0x3E00000
    OP = 0xC000000  # 1 write, 2 read
    R = 1 << 28  # ready
    I = 1 << 29  # noqa: E741 - interrupt when ready
    E = 1 << 30  # error


class Cause(Bits):
    """Interrupt causes, in ICR, ICS, IMS and IMC."""

    TXDW = 0x1  # a transmit descriptor was written back
    TXQE = 0x2  # the transmit ring is empty
    LSC = 0x4  # the link has changed
    RXSEQ = 0x8
    RXDMT0 = 0x10  # few receive descriptors are left
    RXO = 0x40  # a frame was lost for want of one
    RXT0 = 0x80  # a frame was received
    MDAC = 0x200
    RXCFG = 0x400
    TXD_LOW = 0x8000
    SRPD = 0x10000


class Rctl(Bits):
    """Receive control."""

    EN = 0x2
    SBP = 0x4
    UPE = 0x8  # every unicast address
    MPE = 0x10  # every multicast address
    LPE = 0x20  # long frames
    LBM = 0xC0  # loopback
    RDMTS = 0x300  # when few descriptors are few
    MO = 0x3000  # which bits of an address the filter takes
    BAM = 0x8000  # broadcast
    BSIZE = 0x30000
    VFE = 0x40000  # filter by VLAN
    CFIEN = 0x80000
    CFI = 0x100000
    DPF = 0x400000
    PMCF = 0x800000
    BSEX = 1 << 25  # buffers are 16 times as large
    SECRC = 1 << 26  # without the frame's checksum


class Tctl(Bits):
    """Transmit control."""

    EN = 0x2
    PSP = 0x8  # pad short packets
    CT = 0xFF0
    COLD = 0x3FF000
    SWXOFF = 0x400000
    RTLC = 0x1000000


class Rxcsum(Bits):
    """Receive checksums."""

    PCSS = 0xFF
    IPOFL = 0x100
    TUOFL = 0x200


class Rah(Bits):
    """Upper half of a receive address."""

    ADDR = 0xFFFF
    AS = 0x30000
    AV = 1 << 31  # valid


class RxStatus(Bits):
    """Status of a receive descriptor."""

    DD = 0x01
    EOP = 0x02
    IXSM = 0x04  # no checksum was looked at
    VP = 0x08  # the frame had a VLAN tag
    TCPCS = 0x20
    IPCS = 0x40
    PIF = 0x80  # the address only passed the filter


class RxErrors(Bits):
    """Errors of a receive descriptor."""

    TCPE = 0x20
    IPE = 0x40


class TxCommand(Bits):
    """Command of a transmit descriptor; TSE is IC in a legacy one, and TSE in a context."""

    EOP = 0x01
    IFCS = 0x02
    TSE = 0x04
    RS = 0x08
    RPS = 0x10
    DEXT = 0x20
    VLE = 0x40
    IDE = 0x80
