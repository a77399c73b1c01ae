"""The host's side of the demo's steps: follows what a guest says, does its own part, judges the result."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.examples.table import Row, Table
from tests.guests.console import Console, GuestError, fields
from tests.guests.host import HostServers, digest, exchange, payload

HOST, DNS, GUEST = "10.0.2.2", "10.0.2.3", "10.0.2.15"
INBOUND_PORT = 7000
INBOUND_SIZE = 1_000_000
STEP_SECONDS = 45.0
TITLES = {
    "lease": "DHCP lease",
    "dns": "DNS lookup through 10.0.2.3",
    "ping": "ping of the gateway",
    "download": "download from the host",
    "upload": "upload to the host",
    "inbound": "connection in through hostfwd",
}
Values = dict[str, str]


class Wrong(Exception):
    """A step's result is not what it must be; the text says what came instead."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Good:
    """A step's result: what to note, and the bytes moved where a speed makes sense."""

    note: str
    size: int = 0


class Steps:
    """One guest's steps: reads its console and adds a row per step."""

    def __init__(self, console: Console, guest: str, table: Table, servers: HostServers, blob: bytes) -> None:
        self.console = console
        self.guest = guest
        self.table = table
        self.servers = servers
        self.blob = blob
        self.forward = 0
        # When the bytes of a step began and ended to move, where that is known better than from its lines.
        self._begun = self._finished = 0.0

    def follow(self, names: Sequence[str]) -> None:
        """All the named steps; after one the guest did not survive, the others fail unseen."""
        for position, name in enumerate(names):
            try:
                self._step(name)
            except GuestError as error:
                self._add(name, False, str(error).replace("\n", " "))
                for other in names[position + 1 :]:
                    self._add(other, False, "not reached")
                return

    def lease(self, values: Values, begin: float) -> None:
        """The row of a lease that the guest took by itself; `begin` is when it was started."""
        self._finished = time.monotonic()
        self._judge("lease", values, begin)

    def _step(self, name: str) -> None:
        self.console.line(f"@start {name}", STEP_SECONDS)
        begin = time.monotonic()
        if name == "inbound":
            self._call_in(begin)
            return
        values = self._result(name)
        self._judge(name, values, begin)

    def _result(self, name: str) -> Values:
        """Waits for the step's end; what comes after "@moved", summing up, does not count."""
        moved = 0.0
        while True:
            values = fields(self.console.line("@", STEP_SECONDS))
            if values["word"] == "@moved":
                moved = time.monotonic()
            elif values["word"] == "@done" and values.get("name") == name:
                self._finished = moved or time.monotonic()
                return values

    def _judge(self, name: str, values: Values, begin: float) -> None:
        judges: dict[str, Callable[[Values], Good]] = {
            "lease": self._lease,
            "dns": self._dns,
            "ping": self._ping,
            "download": self._download,
            "upload": self._upload,
        }
        self._begun = 0.0
        try:
            if "error" in values:
                raise Wrong(values["error"])
            good = judges[name](values)
        except (Wrong, OSError) as error:
            self._add(name, False, str(error))
        else:
            self._add(name, True, good.note, self._finished - (self._begun or begin), good.size)

    def _lease(self, values: Values) -> Good:
        expect(values, ip=GUEST, router=HOST, dns=DNS)
        return Good(note=f"{values['ip']}, MTU {values['mtu'] or 'not told'}")

    def _dns(self, values: Values) -> Good:
        expect(values, server=DNS)
        if not values.get("answer"):
            raise Wrong("no answer")
        return Good(note=values["answer"])

    def _ping(self, values: Values) -> Good:
        expect(values, got="3")
        return Good(note=f"3 of 3 answered, {values['ms']} ms")

    def _download(self, values: Values) -> Good:
        expect(values, sha=digest(self.blob))
        return Good(note=f"{len(self.blob) // 1_000_000} MB, checksum equal", size=len(self.blob))

    def _upload(self, values: Values) -> Good:
        received = self.servers.uploaded()
        data, self._begun, self._finished = received.data, received.started, received.finished
        if data != self.blob:
            raise Wrong(f"the host got {len(data)} bytes, not the {len(self.blob)} of the original")
        return Good(note=f"{len(data) // 1_000_000} MB, checksum equal", size=len(data))

    def _call_in(self, begin: float) -> None:
        data = payload(INBOUND_SIZE, seed=2)
        try:
            same = exchange(self.forward, data) == data
            note = "1 MB each way, equal" if same else "what came back differs"
        except OSError as error:
            same, note = False, str(error)
        self._add("inbound", same, note, time.monotonic() - begin, 2 * INBOUND_SIZE)
        self._result("inbound")

    def _add(self, name: str, ok: bool, note: str, seconds: float = 0.0, size: int = 0) -> None:
        row = Row(what=TITLES[name], guest=self.guest, ok=ok, seconds=seconds, size=size, note=note)
        self.table.add(row)


def expect(values: Values, **wanted: str) -> None:
    """Raises Wrong with the first value that is not the wanted one."""
    for key, value in wanted.items():
        if values.get(key) != value:
            raise Wrong(f"{key} is {values.get(key) or 'missing'}, not {value}")
