"""`wirebay serve`: two real guests and a user network on one hub."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.guests.console import Console
from tests.guests.guest import boot
from tests.guests.host import exchange, free_port, payload
from tests.guests.processes import running

pytestmark = pytest.mark.usefixtures("qemu")

PLACES = ("10.0.2.15", "10.0.2.16")
# Talks to the other guest, then serves until it is told to end.
SCRIPT = """
    for place in 10.0.2.15 10.0.2.16; do ping -c 1 -W 20 $place > /dev/null && echo "@saw $place"; done
    nc -ll -p 7000 -e cat &
    nc -l -p 7001 -e echo end
"""


@contextmanager
def guest(socket: Path, number: int) -> Iterator[Console]:
    network = ["-netdev", f"stream,id=n0,addr.type=unix,addr.path={socket}"]
    card = ["-device", f"virtio-net-pci,netdev=n0,mac=52:54:00:12:34:0{number}"]
    with boot([], [*network, *card], SCRIPT) as console:
        yield console


def test_a_guest_that_stands_still_does_not_stop_the_other_on_its_hub(folder: Path) -> None:
    ports = {(place, inner): free_port() for place in PLACES for inner in (7000, 7001)}
    rules = "".join(
        f",hostfwd=tcp:127.0.0.1:{port}-{place}:{inner}" for (place, inner), port in ports.items()
    )
    words = ["serve", "-netdev", f"user,id=u0{rules}", "-netdev", "hubport,id=h0,hubid=0,netdev=u0"]
    sockets = [folder / f"vm{number}.sock" for number in (1, 2)]
    for socket in sockets:
        name = socket.stem
        words += ["-netdev", f"stream,id={name},server=on,addr.type=unix,addr.path={socket}"]
        words += ["-netdev", f"hubport,id=h-{name},hubid=0,netdev={name}"]
    data = payload(10_000_000, seed=5)
    with running(words) as serve, guest(sockets[0], 1) as first, guest(sockets[1], 2) as second:
        leases = [console.fields("@lease")["ip"] for console in (first, second)]
        assert sorted(leases) == list(PLACES)
        for console in (first, second):
            assert {console.line("@saw"), console.line("@saw")} == {f"@saw {place}" for place in PLACES}
        os.kill(first.process.pid, signal.SIGSTOP)
        assert exchange(ports[leases[1], 7000], data, 60) == data
        os.kill(first.process.pid, signal.SIGCONT)
        assert exchange(ports[leases[0], 7000], data, 60) == data
        for place, console in zip(leases, (first, second), strict=True):
            assert exchange(ports[place, 7001], b"") == b"end\n"
            assert console.finish() == 0
        serve.send_signal(signal.SIGTERM)
        assert serve.wait(10) == 0
