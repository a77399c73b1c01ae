"""Plugging, links and frames in any order on a hub and a switch of the real worker, against a plain model."""

from __future__ import annotations

import asyncio
import struct
from dataclasses import dataclass, field
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from tests.wire.guest import Guest
from tests.wire.packets import BROADCAST, ethernet
from wirebay.network import Network
from wirebay.ports import Port
from wirebay.segments import Hub, Switch
from wirebay.worker import Worker

EXPERIMENT = 0x88B5
PORTS = 4
VLANS = (1, 10, 4094)

numbers = st.integers(0, PORTS - 1)
vlans = st.sampled_from(VLANS)
# None: without a tag, to everybody. Nobody has the address PORTS.
tags = st.none() | vlans
goals = st.one_of(numbers, st.none(), st.just(PORTS))
options = st.fixed_dictionaries(
    {},
    optional={
        "vlan": vlans,
        "trunk": st.lists(vlans, min_size=1, unique=True).map(lambda some: [(vid, vid) for vid in some]),
        "isolated": st.just(True),
    },
)


@dataclass
class Place:
    """A port as the model knows it."""

    guest: Guest
    port: Port
    link: bool = True
    plugged: bool = False
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def open(self) -> bool:
        return not {"vlan", "trunk"} & self.options.keys()

    def carries(self, vlan: int) -> bool:
        return self.open or (vlan, vlan) in self.options.get("trunk", ())

    def enter(self, tag: int | None) -> int | None:
        """The VLAN of a frame, 0 for none; None when the port takes no such frame."""
        if tag is None:
            return 0 if self.open else self.options.get("vlan")
        return tag if self.carries(tag) else None

    def leave(self, vlan: int) -> list[int | None]:
        """How a frame leaves: nothing, or the one tag it gets."""
        if vlan == (0 if self.open else self.options.get("vlan")):
            return [None]
        return [vlan] if vlan and self.carries(vlan) else []


def mac(number: int) -> bytes:
    return bytes((2, 0, 0, 0, 0, number))


class Segments(RuleBasedStateMachine):
    """`known` is where the switch has seen whom, by VLAN."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.network = Network(start_worker=Worker.in_thread)
        self.places: list[Place] = []
        self.known: dict[tuple[int, int], int] = {}
        self.sent = 0
        self.segment: Hub | None = None

    @initialize(learning=st.booleans())
    def start(self, learning: bool) -> None:
        self.runner.run(self._start(learning))

    async def _start(self, learning: bool) -> None:
        await self.network.__aenter__()
        self.segment = await (self.network.switch("lan") if learning else self.network.hub("lan"))
        for number in range(PORTS):
            self.places.append(Place(*await Guest.on(self.network, f"vm{number}", number)))
        for place in self.places:
            await self._join(place, {})

    async def _join(self, place: Place, chosen: dict[str, Any]) -> None:
        if isinstance(self.segment, Switch):
            await self.segment.join(place.port, **chosen)
            place.options = chosen
        else:
            assert self.segment is not None
            await self.segment.join(place.port)
        place.plugged = True

    @rule(number=numbers, chosen=options)
    def replug(self, number: int, chosen: dict[str, Any]) -> None:
        place = self.places[number]
        if place.plugged:
            self.unplug(number)
        self.runner.run(self._join(place, chosen))

    @rule(number=numbers)
    def unplug(self, number: int) -> None:
        place = self.places[number]
        if place.plugged and self.segment is not None:
            self.runner.run(self.segment.leave(place.port))
            place.plugged, place.options = False, {}
            self._forget(number)

    @rule(number=numbers, up=st.booleans())
    def set_link(self, number: int, up: bool) -> None:
        self.places[number].link = up
        self.runner.run(self.places[number].port.set_link(up))
        if not up:
            self._forget(number)

    def _forget(self, number: int) -> None:
        self.known = {station: port for station, port in self.known.items() if port != number}

    @precondition(lambda self: self.places)
    @rule(frames=st.lists(st.tuples(numbers, tags, goals), min_size=1, max_size=8))
    def converse(self, frames: list[tuple[int, int | None, int | None]]) -> None:
        for number, tag, to in frames:
            self.sent += 1
            got = self.runner.run(self._send(number, tag, to))
            assert got == self._expected(number, tag, to)

    def frame(self, number: int, tag: int | None, to: int | None) -> bytes:
        header = b"" if tag is None else struct.pack("!HH", 0x8100, tag)
        start = (BROADCAST if to is None else mac(to)) + mac(number) + header
        return start + ethernet(b"", b"", EXPERIMENT, struct.pack("!I", self.sent).ljust(46, b"\0"))

    async def _send(self, number: int, tag: int | None, to: int | None) -> dict[int, list[bytes]]:
        await self.places[number].guest.send(self.frame(number, tag, to))
        await self.network.stats()  # the worker is done with it
        return {at: frames for at, place in enumerate(self.places) if (frames := arrived(place.guest))}

    def _expected(self, number: int, tag: int | None, to: int | None) -> dict[int, list[bytes]]:
        sender = self.places[number]
        if not (sender.plugged and sender.link):
            return {}
        others = {at: p for at, p in enumerate(self.places) if p.plugged and at != number}
        if not isinstance(self.segment, Switch):
            return {at: [self.frame(number, tag, to)] for at, place in others.items() if place.link}
        vlan = sender.enter(tag)
        if vlan is None:
            return {}
        goal = None if to is None else self.known.get((vlan, to))
        self.known[vlan, number] = number
        if goal is not None and self.places[goal].leave(vlan):
            others = {at: place for at, place in others.items() if at == goal}
        isolated = sender.options.get("isolated", False)
        reached = {at: p for at, p in others.items() if not (isolated and p.options.get("isolated"))}
        frames = {at: [self.frame(number, out, to) for out in p.leave(vlan)] for at, p in reached.items()}
        return {at: some for at, some in frames.items() if some and self.places[at].link}

    def teardown(self) -> None:
        self.runner.run(self.network.__aexit__(None, None, None))
        for place in self.places:
            place.guest.sock.close()
        self.runner.close()


def arrived(guest: Guest) -> list[bytes]:
    """The frames that wait to be read."""
    try:
        data = guest.sock.recv(1 << 20)
    except BlockingIOError:
        return []
    frames = []
    while data:
        (length,) = struct.unpack_from("!I", data)
        frames.append(data[4 : 4 + length])
        data = data[4 + length :]
    return frames


TestSegments = Segments.TestCase
TestSegments.settings = settings(
    max_examples=50, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
