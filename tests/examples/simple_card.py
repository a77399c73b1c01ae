"""The worked example of docs/adding-a-card.md: a network card with one buffer each way."""

from __future__ import annotations

from wirebay.cards.card import Card
from wirebay.cards.pci import Bar, Identity
from wirebay.cards.register import Bits, Register, Row

LONGEST = 1518


class Ctrl(Bits):
    """What the driver switches on."""

    RXEN = 0x01  # receive
    PROM = 0x02  # whatever the address


class Cause(Bits):
    """Why there is an interrupt."""

    TX = 0x01  # a frame has been sent
    RX = 0x02  # a frame has been received
    ERR = 0x04  # a buffer is not in memory


class SimpleCard(Card):
    """One frame at a time: its address goes to TXADDR, its length to TXLEN, and it is sent."""

    identity = Identity(vendor=0x1234, device=0x5143, bars=(Bar(4096),))
    title = "the example of the documentation"
    drivers = "none"

    CTRL = Register(0x00, "control", size=4, bits=Ctrl, writable=0x03)
    ISR = Register(0x04, "interrupt status; write 1 to clear", size=4, bits=Cause, clears=0x07, writable=0)
    IMR = Register(0x08, "interrupt mask", size=4, bits=Cause, writable=0x07)
    MAC = Row(0x10, "station address", count=6, access="r")
    TXADDR = Register(0x20, "where the frame to send lies", size=4)
    TXLEN = Register(0x24, "its length; writing it sends", size=4, writable=0xFFFF)
    RXADDR = Register(0x28, "where to put the next frame", size=4)
    RXSIZE = Register(0x2C, "room there; 0 after a frame has come", size=4, writable=0xFFFF)
    RXLEN = Register(0x30, "length of the frame received", size=4, access="r")

    @MAC.on_read
    def _station(self, index: int) -> int:
        return self.mac[index]

    @TXLEN.on_write
    def _send(self, value: int) -> None:
        self.busy = True  # the engine does it: registers never touch memory

    @property
    def interrupt(self) -> bool:
        """The level of the pin."""
        return bool(self.ISR & self.IMR)

    @property
    def receives(self) -> bool:
        """With the receiver on, frames wait for a buffer; with it off, they are dropped."""
        return not self.CTRL & Ctrl.RXEN or self.RXSIZE > 0

    def work(self, now: int) -> None:
        """Send the frame."""
        if 14 <= self.TXLEN <= LONGEST:
            self.send(self.fetch(self.TXADDR, self.TXLEN))
        self.TXLEN = 0
        self.ISR |= Cause.TX

    def accept(self, frame: bytes, now: int) -> None:
        """Put a frame into the buffer, if it is for us."""
        if not self.CTRL & Ctrl.RXEN or not self._wanted(frame):
            return
        length = min(len(frame), self.RXSIZE)
        self.RXSIZE = 0
        self.store(self.RXADDR, frame[:length])
        self.RXLEN = length
        self.ISR |= Cause.RX

    def _wanted(self, frame: bytes) -> bool:
        return bool(self.CTRL & Ctrl.PROM or frame[0] & 1) or frame[:6] == self.mac

    def failed(self) -> None:
        """A buffer is not in memory."""
        self.ISR |= Cause.ERR
