"""What every simulated card is: a pure register model.

Theory of operation. A card is given things, one at a time, and afterwards says what it wants:

- `read` and `write`: a guest's access to a BAR, answered from registers alone, without touching memory;
- `receive`: a frame from the network;
- `run`: time for its engine, which walks through descriptors in the guest's memory. It is called when `busy`
  is set, or when `deadline` has come;
- `status`: frames it has sent, the level of its interrupt pin, whether it can take a frame, and the above.

It reads no clock: `now`, in microseconds, is an argument. It has no socket: what it sends waits in a list.

Memory is reached by `fetch` and `store`, in `run` and `receive` only. Between two of them a guest may access
registers (the memory may be behind messages), even reset the card. Then the next `fetch` or `store` raises
Aborted, and what was being done is over. So keep nothing over a `fetch` that a register may have changed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Protocol

from wirebay.cards.pci import Identity
from wirebay.cards.register import Declared, Place
from wirebay.cards.space import Space

NOTHING = Space([], [])

Trace = Callable[[str], None]
Status = tuple[list[bytes], bool, list[int], bool, bool, int | None]


class DmaError(Exception):
    """There is no memory at an address, or the card may not reach it."""


class Aborted(Exception):
    """The card was reset while its engine waited for memory."""


class Memory(Protocol):
    """The guest's memory. Both methods raise OSError where the card cannot reach it."""

    def read(self, address: int, size: int, /) -> bytes:
        """`size` bytes from `address`."""

    def write(self, address: int, data: bytes, /) -> None:
        """Put `data` to `address`; a number at its natural place in one piece."""


class NoMemory:
    """For cards that do not reach memory."""

    def read(self, address: int, size: int, /) -> bytes:
        """Raises OSError."""
        raise OSError(f"no memory at {address:#x}, {size} bytes")

    def write(self, address: int, data: bytes, /) -> None:
        """Raises OSError."""
        raise OSError(f"no memory at {address:#x}, {len(data)} bytes")


class Card:
    """A card; subclass it with its registers and what they do.

    `identity` is how it appears on the bus, `title` a name for people, `drivers` the Linux drivers for it.
    `patience` is how many microseconds a frame waits, while `receives` is False, before `overflow` is called.
    `spaces` are its address spaces by name; "" is that of the BARs. `trace`, if set, is given a line for each
    access and descriptor. `link` is whether a cable is plugged in.
    """

    identity: ClassVar[Identity]
    title: ClassVar[str]
    drivers: ClassVar[str]
    patience: ClassVar[int] = 20_000
    empty: ClassVar[int] = 0
    spaces: ClassVar[dict[str, Space]] = {}

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.spaces = spaces(cls)

    def __init__(self, mac: bytes, memory: Memory | None = None) -> None:
        self.mac, self.memory = mac, memory or NoMemory()
        self.trace: Trace | None = None
        self.link = True
        self.busy = False
        self.deadline: int | None = None
        self.epoch = 0
        self._frames: list[bytes] = []
        self._vectors: list[int] = []
        for register in self.registers():
            self.__dict__[register.name] = register.initial()
        self.reset(0)

    @classmethod
    def registers(cls) -> list[Declared[Any]]:
        """All registers, space by space, in the order they were declared."""
        return [register for space in cls.spaces.values() for register in space.registers]

    # What the bus calls.

    def read(self, bar: int, offset: int, size: int, now: int) -> int:
        """A guest reads `size` bytes (1, 2 or 4) of BAR `bar`."""
        return self.read_space("", offset, size)

    def write(self, bar: int, offset: int, size: int, value: int, now: int) -> None:
        """A guest writes."""
        self.write_space("", offset, size, value)

    def reset(self, now: int) -> None:
        """As after power-on: registers get their values, the engine forgets what it did."""
        self.epoch += 1
        self.busy, self.deadline = False, None
        for register in self.registers():
            if register.reset is not None:
                self.__dict__[register.name] = register.initial()

    def receive(self, frame: bytes, now: int) -> None:
        """Take a frame, without its checksum, from the network."""
        self._guarded(lambda: self.accept(frame, now))

    def run(self, now: int) -> None:
        """Go on with what is to be done."""
        self.busy = False
        self._guarded(lambda: self.work(now))

    def overflow(self, now: int) -> None:
        """A frame has waited for long: say what the data sheet has for full buffers.

        A driver that has acknowledged the last frame before it has read all would else wait for ever.
        """

    def status(self) -> Status:
        """Frames sent, level of the pin, MSI-X vectors signalled, `receives`, `busy`, `deadline`.

        Frames and vectors are told only once.
        """
        frames, self._frames = self._frames, []
        vectors, self._vectors = self._vectors, []
        return frames, self.interrupt, vectors, self.receives, self.busy, self.deadline

    # What a card says of itself.

    @property
    def interrupt(self) -> bool:
        """The level of its interrupt pin."""
        raise NotImplementedError

    @property
    def receives(self) -> bool:
        """Whether it can take a frame now; while it cannot, frames wait. One that would drop it takes it."""
        return True

    def accept(self, frame: bytes, now: int) -> None:
        """Do with a frame what a card does with it; may raise what `fetch` and `store` raise."""
        raise NotImplementedError

    def work(self, now: int) -> None:
        """Run the engine, for a bounded while: set `busy` if there is more; may raise as `accept`."""

    def failed(self) -> None:
        """The engine met an address without memory: do what the data sheet says of a failed bus access."""

    # What a card uses.

    def read_space(self, space: str, offset: int, size: int) -> int:
        """Read registers of a space."""
        tracer = self._access if self.trace else None
        return self.spaces.get(space, NOTHING).read(self, offset, size, tracer)

    def write_space(self, space: str, offset: int, size: int, value: int) -> None:
        """Write registers of a space."""
        tracer = self._access if self.trace else None
        self.spaces.get(space, NOTHING).write(self, offset, size, value, tracer)

    def send(self, frame: bytes) -> None:
        """Put a frame on the wire, if there is one."""
        if self.link:
            self._frames.append(frame)

    def signal(self, vector: int) -> None:
        """Signal an MSI-X vector."""
        self._vectors.append(vector)

    def fetch(self, address: int, size: int) -> bytes:
        """Read memory. Raises DmaError, Aborted."""
        epoch = self.epoch
        try:
            data = self.memory.read(address, size)
        except OSError as error:
            raise DmaError(str(error)) from error
        if self.epoch != epoch:
            raise Aborted
        return data

    def store(self, address: int, data: bytes) -> None:
        """Write memory. Raises DmaError, Aborted."""
        epoch = self.epoch
        try:
            self.memory.write(address, data)
        except OSError as error:
            raise DmaError(str(error)) from error
        if self.epoch != epoch:
            raise Aborted

    def note(self, text: str) -> None:
        """A line for the trace, such as a descriptor."""
        if self.trace:
            self.trace(text)

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Aborted:
            self.note("reset while the engine was at work")
        except DmaError as error:
            self.note(f"bus error: {error}")
            self.failed()

    def _access(self, way: str, place: Place, value: int) -> None:
        if self.trace:
            names = place.register.bits.text(value)
            width = 2 + 2 * place.register.size
            self.trace(f"{way:<5} {place.name} {value:#0{width}x} {names}".rstrip())


def spaces(cls: type[Card]) -> dict[str, Space]:
    """The address spaces of a card's class, of the registers declared in it and in what it is made of."""
    found: dict[str, Declared[Any]] = {}
    for owner in reversed(cls.__mro__):
        found |= {name: value for name, value in vars(owner).items() if isinstance(value, Declared)}
    names = {register.space for register in found.values()}
    names |= {register.mirror for register in found.values() if register.mirror is not None}
    return {
        name: Space(
            [register for register in found.values() if register.space == name],
            [register for register in found.values() if register.mirror == name],
            cls.empty,
        )
        for name in sorted(names)
    }
