"""Everything of the 82540EM but its rings: interrupts, EEPROM, PHY, link, statistics, reset.

Source: Intel, PCI/PCI-X Family of Gigabit Ethernet Controllers Software Developer's Manual.
"""

from __future__ import annotations

from wirebay.cards.card import Card, Memory
from wirebay.cards.e1000_registers import Cause, Ctrl, Eecd, Eerd, Mdic, Rah, Rctl, Rxcsum, Status, Tctl
from wirebay.cards.eeprom import Eeprom, words
from wirebay.cards.pci import Bar, Identity
from wirebay.cards.register import Register, Row

VENDOR, DEVICE, SUB_DEVICE = 0x8086, 0x100E, 0x001E
EEPROM_SUM = 0xBABA
CHECKSUM_WORD = 63
PHY_ADDRESS = 1
# Registers of the PHY (88E1000) after a reset, by number.
PHY = {
    0: 0x1140, 1: 0x7949, 2: 0x0141, 3: 0x0C20, 4: 0x0DE1, 5: 0x4DE1, 6: 0x0001, 9: 0x0E00, 10: 0x3C00,
    15: 0x3000, 16: 0x0360, 17: 0xA800, 20: 0x0D60,
}  # fmt: skip
PHY_READ_ONLY = frozenset((1, 2, 3, 5, 6, 10, 15, 17))
PHY_RESET, PHY_RESTART = 0x8000, 0x0200  # control: clear themselves
PHY_LINK, PHY_DONE = 0x0004, 0x0020  # status
PHY_RESOLVED, PHY_LINK_NOW = 0x0800, 0x0400  # specific status
IOADDR, IODATA = 0, 4
COUNTER = 0xFFFFFFFF


class E1000Base(Card):
    """The 82540EM without rings."""

    identity = Identity(
        vendor=VENDOR,
        device=DEVICE,
        revision=3,
        sub_vendor=VENDOR,
        sub_device=SUB_DEVICE,
        bars=(Bar(1 << 17), Bar(64, io=True)),
        latency=(0xFF, 0),
    )
    title = "Intel 82540EM"
    drivers = "e1000"

    CTRL = Register(0x0000, "device control", size=4, bits=Ctrl, reset=Ctrl.FD | Ctrl.SPEED & 0x200)
    STATUS = Register(0x0008, "device status", size=4, bits=Status, reset=0x80, access="r")
    EECD = Register(0x0010, "EEPROM control", size=4, bits=Eecd, reset=0x10, writable=0x77)
    EERD = Register(0x0014, "EEPROM read", size=4, bits=Eerd)
    CTRL_EXT = Register(0x0018, "extended device control", size=4)
    MDIC = Register(0x0020, "PHY access", size=4, bits=Mdic, reset=Mdic.R)
    FCAL = Register(0x0028, "flow control address, low", size=4)
    FCAH = Register(0x002C, "flow control address, high", size=4)
    FCT = Register(0x0030, "flow control type", size=4, writable=0xFFFF)
    VET = Register(0x0038, "VLAN type", size=4, reset=0x8100, writable=0xFFFF)
    ICR = Register(0x00C0, "interrupt causes; reading clears", size=4, bits=Cause, read_clears=True,
                   clears=0x1FFFF, writable=0)  # fmt: skip
    ITR = Register(0x00C4, "least time between interrupts", size=4, writable=0xFFFF)
    ICS = Register(0x00C8, "causes to set", size=4, bits=Cause, writable=0x1FFFF, access="w")
    IMS = Register(0x00D0, "interrupt mask; writing sets", size=4, bits=Cause, writable=0)
    IMC = Register(0x00D8, "interrupt mask to clear", size=4, bits=Cause, writable=0x1FFFF, access="w")
    RCTL = Register(0x0100, "receive control", size=4, bits=Rctl)
    FCTTV = Register(0x0170, "flow control timer", size=4, writable=0xFFFF)
    TXCW = Register(0x0178, "transmit configuration word", size=4)
    RXCW = Register(0x0180, "receive configuration word", size=4, access="r")
    TCTL = Register(0x0400, "transmit control", size=4, bits=Tctl)
    TIPG = Register(0x0410, "transmit gaps", size=4)
    AIT = Register(0x0458, "adaptive gap", size=4, writable=0xFFFF)
    LEDCTL = Register(0x0E00, "LEDs", size=4, reset=0x07061302)
    PBA = Register(0x1000, "packet buffer allocation", size=4, reset=0x00100030)
    FCRTL = Register(0x2160, "flow control threshold, low", size=4)
    FCRTH = Register(0x2168, "flow control threshold, high", size=4)
    RDBAL = Register(0x2800, "receive ring, low", size=4, reset=None, writable=-16)
    RDBAH = Register(0x2804, "receive ring, high", size=4, reset=None)
    RDLEN = Register(0x2808, "receive ring, bytes", size=4, writable=0xFFF80)
    RDH = Register(0x2810, "receive head", size=4, writable=0xFFFF)
    RDT = Register(0x2818, "receive tail", size=4, writable=0xFFFF)
    RDTR = Register(0x2820, "receive delay", size=4, writable=0xFFFF)
    RXDCTL = Register(0x2828, "receive descriptor control", size=4, reset=0x01010000)
    RADV = Register(0x282C, "receive absolute delay", size=4, writable=0xFFFF)
    RSRPD = Register(0x2C00, "small packet size", size=4, writable=0xFFF)
    TDBAL = Register(0x3800, "transmit ring, low", size=4, reset=None, writable=-16)
    TDBAH = Register(0x3804, "transmit ring, high", size=4, reset=None)
    TDLEN = Register(0x3808, "transmit ring, bytes", size=4, writable=0xFFF80)
    TDH = Register(0x3810, "transmit head", size=4, writable=0xFFFF)
    TDT = Register(0x3818, "transmit tail", size=4, writable=0xFFFF)
    TIDV = Register(0x3820, "transmit delay", size=4, writable=0xFFFF)
    TXDCTL = Register(0x3828, "transmit descriptor control", size=4)
    TADV = Register(0x382C, "transmit absolute delay", size=4, writable=0xFFFF)
    TSPMT = Register(0x3830, "TSO padding and threshold", size=4)
    STATS = Row(0x4000, "statistics; reading clears", size=4, count=64, read_clears=True, access="r")
    RXCSUM = Register(0x5000, "receive checksum control", size=4, bits=Rxcsum, writable=0x3FF)
    MTA = Row(0x5200, "multicast table", size=4, count=128, reset=None)
    RAL = Row(0x5400, "receive address, low", size=4, count=16, stride=8)
    RAH = Row(0x5404, "receive address, high", size=4, count=16, stride=8, bits=Rah)
    VFTA = Row(0x5600, "VLAN table", size=4, count=128, reset=None)
    WUC = Register(0x5800, "wake up control", size=4)
    WUFC = Register(0x5808, "wake up filter", size=4)
    WUS = Register(0x5810, "wake up status", size=4)
    MANC = Register(0x5820, "management control", size=4)

    def __init__(self, mac: bytes, memory: Memory | None = None) -> None:
        self.eeprom = Eeprom(eeprom_words(mac))
        self.phy = dict(PHY)
        self.io_address = 0
        super().__init__(mac, memory)

    def reset(self, now: int) -> None:
        """As after power-on; the station address comes from the EEPROM."""
        super().reset(now)
        self.phy = dict(PHY)
        mac = b"".join(word.to_bytes(2, "little") for word in self.eeprom.words[:3])
        self.RAL[0] = int.from_bytes(mac[:4], "little")
        self.RAH[0] = int.from_bytes(mac[4:], "little") | Rah.AV

    # Access: memory, and two ports that lead to the same registers.

    def read(self, bar: int, offset: int, size: int, now: int) -> int:
        """A guest reads memory or ports."""
        if bar == 0:
            return super().read(bar, offset, size, now)
        if offset == IODATA and size == 4:
            return self.read_space("", self.io_address & 0x1FFFC, 4)
        return self.io_address if offset == IOADDR and size == 4 else 0

    def write(self, bar: int, offset: int, size: int, value: int, now: int) -> None:
        """A guest writes memory or ports."""
        if bar == 0:
            super().write(bar, offset, size, value, now)
        elif offset == IOADDR and size == 4:
            self.io_address = value
        elif offset == IODATA and size == 4:
            self.write_space("", self.io_address & 0x1FFFC, 4, value)

    # Interrupts.

    @property
    def interrupt(self) -> bool:
        """The level of its interrupt pin."""
        return bool(self.ICR & self.IMS)

    @ICS.on_write
    def _set_causes(self, value: int) -> None:
        self.ICR |= self.ICS

    @IMS.on_write
    def _set_mask(self, value: int) -> None:
        self.IMS |= value & 0x1FFFF

    @IMC.on_write
    def _clear_mask(self, value: int) -> None:
        self.IMS &= ~self.IMC

    # Reset and link.

    @CTRL.on_write
    def _control(self, value: int) -> None:
        if value & Ctrl.RST:
            self.note("reset by CTRL")
            self.reset(0)
            return
        if value & Ctrl.PHY_RST:
            self.CTRL &= ~Ctrl.PHY_RST
            self.phy = dict(PHY)
        self._see_link()

    @property
    def link_up(self) -> bool:
        """Whether there is a link: a cable, and a driver that wants one."""
        return self.link and bool(self.CTRL & Ctrl.SLU)

    def _see_link(self) -> None:
        """Tell of a link that has come or gone."""
        if self.link_up != bool(self.STATUS & Status.LU):
            self.STATUS ^= Status.LU
            self.ICR |= Cause.LSC
            self.note(f"the link is {'up' if self.link_up else 'down'}")

    @STATUS.on_read
    def _status(self) -> int:
        self._see_link()
        return self.STATUS | self.CTRL & Ctrl.FD

    def set_link(self, up: bool) -> None:
        """Plug the cable in or out."""
        self.link = up
        self._see_link()

    # EEPROM.

    @EECD.on_write
    def _drive_eeprom(self, value: int) -> None:
        self.eeprom.drive(bool(value & Eecd.CS), bool(value & Eecd.SK), bool(value & Eecd.DI))

    @EECD.on_read
    def _see_eeprom(self) -> int:
        granted = Eecd.GNT if self.EECD & Eecd.REQ else 0
        return self.EECD | granted | Eecd.PRES | (Eecd.DO if self.eeprom.output else 0)

    @EERD.on_write
    def _read_eeprom(self, value: int) -> None:
        address = value >> 8 & 0xFF
        if value & Eerd.START:
            word = self.eeprom.words[address] if address < len(self.eeprom.words) else 0
            self.EERD = word << 16 | address << 8 | Eerd.DONE

    # PHY.

    @MDIC.on_write
    def _phy(self, value: int) -> None:
        number, operation = value >> 16 & 0x1F, value >> 26 & 3
        self.MDIC = value & ~Mdic.E | Mdic.R
        if value >> 21 & 0x1F != PHY_ADDRESS or operation not in (1, 2):
            self.MDIC |= Mdic.E
        elif operation == 2:
            self.MDIC = self.MDIC & ~Mdic.DATA | self._phy_read(number)
        else:
            self._phy_write(number, value & Mdic.DATA)
        if value & Mdic.I:
            self.ICR |= Cause.MDAC

    def _phy_read(self, number: int) -> int:
        value = self.phy.get(number, 0)
        if number == 1 and self.link:
            value |= PHY_LINK | PHY_DONE
        if number == 17 and self.link:
            value |= PHY_RESOLVED | PHY_LINK_NOW
        return value

    def _phy_write(self, number: int, value: int) -> None:
        if number == 0 and value & PHY_RESET:
            self.phy = dict(PHY)
        elif number not in PHY_READ_ONLY:
            self.phy[number] = value & ~(PHY_RESET | PHY_RESTART) if number == 0 else value

    # Statistics.

    def count(self, offset: int, amount: int = 1) -> None:
        """Add to the counter at `offset`; one that is full stays so."""
        index = offset - 0x4000 >> 2
        self.STATS[index] = min(self.STATS[index] + amount, COUNTER)

    def count_octets(self, offset: int, amount: int) -> None:
        """Add to the 64-bit counter whose lower half is at `offset`."""
        index = offset - 0x4000 >> 2
        value = self.STATS[index] + (self.STATS[index + 1] << 32) + amount
        self.STATS[index], self.STATS[index + 1] = value & COUNTER, value >> 32 & COUNTER


def eeprom_words(mac: bytes) -> list[int]:
    """What the EEPROM holds: the address, ids, and a last word that makes the sum right."""
    data = [*words(mac), *[0] * (CHECKSUM_WORD - 3)]
    data[3:6] = 0x0C03, 0xF746, 0x0200
    data[8:16] = 0xFFFF, 0xFFFF, 0x640B, SUB_DEVICE, VENDOR, DEVICE, VENDOR, 0x3040
    data[16:18] = 0x7000, 0x0780
    return [*data, EEPROM_SUM - sum(data) & 0xFFFF]
