"""A host with servers, a user network on it, and a machine in a namespace with a card on that network.

The card is not configured: that is for the clients under test.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.guests.place import Place, place
from tests.guests.processes import running, started
from tests.support import require_namespaces

ROOT = Path(__file__).parents[2]
CARD = "eth0"
TIMEOUT = 30.0


class Site:
    """`host` is where wirebay and the servers run, `guest` has the card; `folder` holds what is served."""

    def __init__(self, host: Place, guest: Place, folder: Path) -> None:
        self.host, self.guest, self.folder = host, guest, folder

    def run(self, *command: str, timeout: float = TIMEOUT) -> subprocess.CompletedProcess[str]:
        """Run a command in the guest, whatever comes of it."""
        return subprocess.run(
            [*self.guest.into, *command], capture_output=True, text=True, timeout=timeout, check=False
        )

    def script(self, name: str, text: str) -> str:
        """A shell script for the guest: its path."""
        path = self.folder / name
        path.write_text(f"#!/bin/sh\n{text}")
        path.chmod(0o755)
        return str(path)

    def configure(self) -> None:
        """Give the guest's card by hand what DHCP and a router would."""
        self.guest.shell(
            f"echo 0 > /proc/sys/net/ipv6/conf/{CARD}/accept_ra;"
            f"ip link set {CARD} up; ip addr add 10.0.2.15/24 dev {CARD}; ip route add default via 10.0.2.2;"
            f"ip -6 addr add fec0::15/64 dev {CARD}; ip -6 route add default via fe80::2 dev {CARD}"
        )


@contextmanager
def hosting(folder: Path) -> Iterator[Place]:
    """A host that is its own resolver, by both families, with the servers of servers.py.

    It has the addresses that its DNS gives for all names.
    """
    require_namespaces()
    resolvers = folder / "resolv.conf"
    resolvers.write_text("nameserver 127.0.0.1\nnameserver ::1\n")
    with place() as host:
        host.shell(
            "ip addr add 192.0.2.9/32 dev lo; ip addr add 2001:db8::9/128 dev lo;"
            f"mount --bind {resolvers} $(readlink -f /etc/resolv.conf);"
            "echo '0 0' > /proc/sys/net/ipv4/ping_group_range"
        )
        command = ["env", f"PYTHONPATH={ROOT}", sys.executable, "-m", "tests.guests.servers", str(folder)]
        with started([*host.into, *command]) as servers:
            assert servers.stdout is not None
            assert servers.stdout.readline() == "up\n", servers.communicate()
            yield host


@contextmanager
def site(folder: Path, options: str = "") -> Iterator[Site]:
    """Such a site; `options` are those of the user network."""
    with (
        hosting(folder) as host,
        place(host.into, ("--net", "--mount")) as guest,
        serving(guest, folder, options, host.into),
    ):
        yield Site(host, guest, folder)


@contextmanager
def serving(guest: Place, folder: Path, options: str, before: Sequence[str]) -> Iterator[None]:
    """Wirebay, run by the words `before`, gives `guest` a card on a user network with these options."""
    # What a client writes there is its own; the file of this machine is not touched.
    own = folder / "guest-resolv.conf"
    own.touch()
    guest.shell(
        f"mount --bind {own} $(readlink -f /etc/resolv.conf);"
        # Whether an address is free is asked elsewhere; here nobody waits a second for it.
        "echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad"
    )
    words = ["serve", "-netdev", ",".join(filter(None, ("user,id=u0", options)))]
    words += ["-netdev", f"tap,id=t0,ifname={CARD},netns=/proc/{guest.pid}/ns/net"]
    with running(words, before=before) as program:
        yield
        program.terminate()
        assert program.wait(TIMEOUT) == 0
