"""Registers, declared once by the names of a card's data sheet.

A card's class says what it has; reads, writes, resets, traces and the tables of the documentation follow:

    class Isr(Bits):
        PRX = 0x01  # packet received
        PTX = 0x02  # packet transmitted

    class MyCard(Card):
        ISR = Register(0x07, "interrupt status", bits=Isr, clears=0x7F)

        @ISR.on_write
        def _acknowledge(self, value: int) -> None: ...

The value lives in the instance under the register's name: `self.ISR |= Isr.PRX` is an ordinary attribute. A
write by the guest changes the bits of `writable` and clears those of `clears` that are written as 1; then the
function marked with `on_write` gets what was written. A read gives the value, or what the function marked
with `on_read` returns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, Self, TypeVar, overload

Function = TypeVar("Function", bound=Callable[..., Any])
Value = TypeVar("Value", int, list[int])


class Bits:
    """The bits and fields of a register: subclass it with one integer, a mask, for each name."""

    @classmethod
    def masks(cls) -> dict[str, int]:
        """Names and masks, in the order they were declared."""
        return {name: mask for name, mask in vars(cls).items() if isinstance(mask, int)}

    @classmethod
    def text(cls, value: int) -> str:
        """The names of what is set; of fields wider than one bit with their value: "STA RD=4"."""
        words = []
        for name, mask in cls.masks().items():
            if found := value & mask:
                field = found >> (mask & -mask).bit_length() - 1
                words.append(name if mask & (mask - 1) == 0 else f"{name}={field:#x}")
        return " ".join(words)


class Declared(Generic[Value]):
    """What a register and a row of registers have in common.

    `offset` is in bytes within its `space`, `size` its width in bytes. `access` is "rw", "r" or "w": two
    registers may share a place if one is only read and the other only written; `mirror` is a second space
    where it can be read, at the same offset. `reset` is the value after a reset; None: a reset does not touch
    it. `read_clears`: reading sets it to 0.
    """

    count = 1

    def __init__(
        self,
        offset: int,
        doc: str,
        *,
        size: int = 1,
        bits: type[Bits] = Bits,
        reset: int | None = 0,
        writable: int = -1,
        clears: int = 0,
        read_clears: bool = False,
        access: str = "rw",
        space: str = "",
        mirror: str | None = None,
    ) -> None:
        self.offset, self.doc, self.size, self.bits = offset, doc, size, bits
        self.reset, self.access, self.space, self.mirror = reset, access, space, mirror
        self.mask = (1 << 8 * size) - 1
        self.clears = clears
        self.writable = writable & self.mask & ~clears
        self.read_clears = read_clears
        self.name = ""
        self.reader: Callable[..., int] | None = None
        self.writer: Callable[..., None] | None = None

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, card: None, owner: type) -> Self: ...
    @overload
    def __get__(self, card: object, owner: type) -> Value: ...
    def __get__(self, card: object | None, owner: type) -> Self | Value:
        if card is None:
            return self
        raise AttributeError(f"{owner.__name__}.{self.name} is used before __init__")

    def on_write(self, function: Function) -> Function:
        """Call this with what the guest has written, after the register has changed."""
        self.writer = function
        return function

    def on_read(self, function: Function) -> Function:
        """What this returns is what the guest reads."""
        self.reader = function
        return function

    def initial(self) -> Value:
        """The value after power-on."""
        raise NotImplementedError

    def places(self) -> Iterator[Place]:
        """Where it can be reached."""
        raise NotImplementedError


class Register(Declared[int]):
    """One register; its value is an integer."""

    def initial(self) -> int:
        """The value after power-on."""
        return self.reset or 0

    def places(self) -> Iterator[Place]:
        """Where it can be reached."""
        yield Place(self, self.offset, None, self.name)


class Row(Declared[list[int]]):
    """`count` registers, `stride` bytes apart; the value is a list, and functions get the index first."""

    def __init__(self, offset: int, doc: str, *, count: int, stride: int = 0, **options: Any) -> None:
        super().__init__(offset, doc, **options)
        self.count, self.stride = count, stride or self.size

    def initial(self) -> list[int]:
        """The values after power-on."""
        return [self.reset or 0] * self.count

    def places(self) -> Iterator[Place]:
        """Where they can be reached."""
        for index in range(self.count):
            yield Place(self, self.offset + index * self.stride, index, f"{self.name}[{index}]")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a guest finds one register; `index` None: it is not in a row."""

    register: Declared[Any]
    offset: int
    index: int | None
    name: str

    def peek(self, card: Any) -> int:
        """The value, without anything happening."""
        value: Any = card.__dict__[self.register.name]
        return int(value if self.index is None else value[self.index])

    def poke(self, card: Any, value: int) -> None:
        """Set the value, without anything happening."""
        if self.index is None:
            card.__dict__[self.register.name] = value
        else:
            card.__dict__[self.register.name][self.index] = value

    def read(self, card: Any) -> int:
        """The guest reads."""
        register = self.register
        if register.reader is None:
            value = self.peek(card)
        else:
            value = register.reader(card) if self.index is None else register.reader(card, self.index)
        if register.read_clears:
            self.poke(card, 0)
        return value

    def write(self, card: Any, value: int) -> None:
        """The guest writes."""
        register = self.register
        kept = self.peek(card) & ~register.writable & ~(value & register.clears)
        self.poke(card, kept | value & register.writable)
        if register.writer is not None:
            arguments = (value,) if self.index is None else (self.index, value)
            register.writer(card, *arguments)
