"""`wirebay card`: the drivers of a real kernel at our cards."""

from __future__ import annotations

import base64
import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.guests.console import Console
from tests.guests.image import ensure
from tests.guests.modules import name_of
from tests.guests.newer_qemu import Qemu, require_newer_qemu
from tests.guests.processes import running, wait_for

MEMORY = 256
# By model: the driver that takes it.
DRIVERS = {
    "ne2k_pci": "ne2k-pci",
    "e1000": "e1000",
    "rtl8139": "8139too",
    "pcnet": "pcnet32",
    "virtio-net-pci": "virtio_net",
}
PING = """
    ping -c {count} -i 0.1 -s {size} 10.0.2.2 | grep -q '{count} packets received' && echo @pinged {size}
"""
PINGS = PING.format(count=20, size=64) + PING.format(count=20, size=1400)
DOWN_AND_UP = """
    ip link set eth0 down && ip link set eth0 up
    udhcpc -i eth0 -n -q -f -t 20 -T 1 -s /bin/lease.sh
"""
RELOAD = """
    rmmod {module} && insmod /modules/{module}.ko && ip link set eth0 up
    udhcpc -i eth0 -n -q -f -t 20 -T 1 -s /bin/lease.sh
"""


@pytest.fixture(scope="session")
def newer() -> Qemu:
    """QEMU with vfio-user, and an image for it."""
    return require_newer_qemu()


@contextmanager
def card(folder: Path, words: str) -> Iterator[Path]:
    """The command; gives the socket."""
    socket = folder / "card.sock"
    with running(["card", words, "--socket", str(socket), "-netdev", "user,id=u0"]) as process:
        wait_for("the card's socket", socket.exists)
        yield socket
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


def boot(qemu: Qemu, socket: Path, script: str, *, shared: bool = True) -> Console:
    """A guest with the card in it, and no other."""
    image = ensure()
    device = {"driver": "vfio-user-pci", "rombar": 0, "socket": {"type": "unix", "path": str(socket)}}
    words = ["-accel", "tcg", "-cpu", "max", "-m", str(MEMORY)]
    if shared:
        words += ["-object", f"memory-backend-memfd,id=m,size={MEMORY}M,share=on"]
    words += ["-machine", "q35,memory-backend=m" if shared else "q35"]
    words += ["-nodefaults", "-display", "none", "-no-reboot", "-serial", "stdio"]
    words += ["-kernel", str(image.kernel), "-initrd", str(image.initramfs)]
    words += ["-append", "console=ttyS0 quiet panic=-1", "-device", json.dumps(device)]
    encoded = base64.b64encode(script.encode()).decode()
    return Console([*qemu.words, *words, "-fw_cfg", f"name=opt/org.wirebay.script,string={encoded}"])


@pytest.mark.parametrize("shared", [True, False], ids=["shared", "messages"])
@pytest.mark.parametrize("model", DRIVERS)
def test_a_driver_gets_a_lease_and_its_pings_are_answered(
    newer: Qemu, folder: Path, model: str, shared: bool
) -> None:
    module = name_of(Path(DRIVERS[model]))
    script = PINGS + DOWN_AND_UP + RELOAD.format(module=module) + PING.format(count=5, size=1000)
    with (
        card(folder, f"{model},mac=52:54:00:12:34:07") as socket,
        boot(newer, socket, script, shared=shared) as guest,
    ):
        nic = guest.fields("@nic")
        assert (nic["driver"], nic["mac"]) == (DRIVERS[model], "52:54:00:12:34:07")
        assert guest.fields("@lease")["ip"] == "10.0.2.15"
        for size in (64, 1400):
            guest.line(f"@pinged {size}", 120)
        for _ in range(2):
            assert guest.fields("@lease")["ip"] == "10.0.2.15"
        guest.line("@pinged 1000")
        assert guest.finish() == 0


def test_a_guest_that_is_killed_makes_room_for_the_next(newer: Qemu, folder: Path) -> None:
    with card(folder, "ne2k_pci") as socket:
        with boot(newer, socket, "ping 10.0.2.2") as guest:
            guest.line("@begin")
            guest.process.kill()
        with boot(newer, socket, "true") as guest:
            assert guest.fields("@lease")["ip"] == "10.0.2.15"
            assert guest.finish() == 0
