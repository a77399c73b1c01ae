"""`make demo`: guests of two kinds get their network from Wirebay, and every part of it is checked.

A namespace guest runs under `wirebay ns`, a QEMU guest (a real Linux kernel under software emulation)
under `wirebay qemu`. Then two guests of each kind meet on a hub: namespaces through the Python API,
machines through `wirebay serve`. Servers are on 127.0.0.1, ports are free ones, and nothing is left behind.
"""

from __future__ import annotations

import argparse
import re
import shlex
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.examples import hubs
from tests.examples.commands import INSIDE, plan, wirebay
from tests.examples.steps import DNS, HOST, INBOUND_PORT, Steps
from tests.examples.table import Row, Table
from tests.guests.console import PATIENCE, Console, GuestError
from tests.guests.guest import boot, require_qemu
from tests.guests.host import HostServers, free_port, payload
from tests.guests.image import ensure
from tests.guests.packages import ImageError

SIZE = 100_000_000
APT = Path("/etc/apt")
STEPS = ("dns", "ping", "download", "upload", "inbound")


def names() -> list[str]:
    """Names that this host may know: those its packages come from, and one that the world knows."""
    files = [*APT.glob("sources.list"), *APT.glob("sources.list.d/*")]
    found = re.findall(r"https?://([a-z0-9.-]+)", "\n".join(file.read_text() for file in files))
    return [*dict.fromkeys(found), "example.com"]


class Demo:
    """What all parts of one run share."""

    def __init__(self, table: Table, servers: HostServers, size: int) -> None:
        self.table = table
        self.servers = servers
        self.blob = payload(size)
        self.name = resolvable(names())

    def steps(self, guest: str) -> list[str]:
        """The steps this host allows; the row of one it does not says so."""
        if self.name:
            return list(STEPS)
        note = "this host resolves no name itself"
        self.table.add(Row(what="DNS lookup", guest=guest, ok=None, note=note))
        return [step for step in STEPS if step != "dns"]

    def values(self, steps: Sequence[str]) -> dict[str, object]:
        """The plan a guest is given."""
        return {
            "steps": list(steps),
            "host": HOST,
            "dns_server": DNS,
            "name": self.name,
            "download": self.servers.download,
            "upload": self.servers.upload,
            "inbound": INBOUND_PORT,
        }

    def namespace(self) -> None:
        steps = ["lease", *self.steps("namespace")]
        port = free_port()
        forward = f"tcp:127.0.0.1:{port}-:{INBOUND_PORT}"
        command = [wirebay(), "ns", "--hostfwd", forward, "--", *INSIDE, plan(self.values(steps))]
        with Console(command) as console:
            follower = Steps(console, "namespace", self.table, self.servers, self.blob)
            follower.forward = port
            follower.follow(steps)

    def qemu(self) -> None:
        steps = self.steps("QEMU")
        port = free_port()
        card = f"user,model=virtio-net-pci,hostfwd=tcp:127.0.0.1:{port}-:{INBOUND_PORT}"
        script = shell_script(self.values(steps))
        begin = time.monotonic()
        with boot([wirebay(), "qemu", "--"], ["-nic", card], script, memory=512) as console:
            follower = Steps(console, "QEMU", self.table, self.servers, self.blob)
            follower.forward = port
            try:
                lease = console.fields("@lease", PATIENCE)
            except GuestError as error:
                lease = {"error": str(error).replace("\n", " ")}
            follower.lease(lease, begin)
            follower.follow(steps)


def shell_script(values: dict[str, object]) -> str:
    """inside.sh with the plan before it, as shell variables."""
    words = {key: " ".join(value) if isinstance(value, list) else str(value) for key, value in values.items()}
    lines = [f"{key}={shlex.quote(value)}" for key, value in words.items()]
    return "\n".join([*lines, Path(__file__).with_name("inside.sh").read_text()])


def resolvable(names: Sequence[str]) -> str:
    """The first of the names the host itself can resolve, or nothing."""
    for name in names:
        try:
            socket.getaddrinfo(name, None, socket.AF_INET)
        except OSError:
            continue
        return name
    return ""


def qemu_parts(demo: Demo) -> None:
    """The checks on QEMU guests, or the sentence why there can be none."""
    try:
        require_qemu()
        ensure()
        demo.qemu()
        hubs.machines(demo.table, shell_script)
    except ImageError as error:
        print(f"No QEMU guest: {error}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--size", type=int, default=SIZE, help="bytes to download and upload (%(default)s)")
    parser.add_argument("--only", choices=("namespace", "qemu"), help="guests of one kind only")
    options = parser.parse_args()
    table = Table()
    with HostServers(payload(options.size)) as servers:
        demo = Demo(table, servers, options.size)
        if options.only != "qemu":
            demo.namespace()
            hubs.namespaces(table)
        if options.only != "namespace":
            qemu_parts(demo)
    return table.close()


if __name__ == "__main__":
    sys.exit(main())
