"""`wirebay qemu` with a real Linux kernel as the guest: what it gets, what it moves, and every way out."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.guests.console import Console
from tests.guests.guest import boot
from tests.guests.host import HostServers, digest, exchange, free_port, payload

QEMU = [sys.executable, "-m", "wirebay", "qemu", "--"]
TIMEOUT = 60.0
SLEEP = "echo @awake; sleep 100"

pytestmark = pytest.mark.usefixtures("qemu")


def wait_for(what: str, happened: Callable[[], object]) -> None:
    """Wait until something is so, for things of other processes that have no event for us."""
    end = time.monotonic() + TIMEOUT
    while not happened():
        assert time.monotonic() < end, what
        time.sleep(0.02)


def children(pid: int) -> list[int]:
    """The processes that `pid` started."""
    return [
        int(word)
        for file in Path(f"/proc/{pid}/task").glob("*/children")
        for word in file.read_text().split()
    ]


def named(pid: int, text: str) -> int:
    """The child of `pid` with `text` in its command line."""
    (found,) = [child for child in children(pid) if text in Path(f"/proc/{child}/cmdline").read_text()]
    return found


def gone(pid: int) -> bool:
    """Whether the process has ended."""
    return not Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize("card", ["virtio-net-pci", "e1000"])
def test_a_kernel_gets_its_lease_and_moves_100_mb_each_way_unharmed(
    card: str, servers: HostServers, folder: Path
) -> None:
    script = f"""
        nc 10.0.2.2 {servers.download} -e sh -c 'cat > /tmp/file'
        echo "@sum sha=$(sha256sum < /tmp/file | cut -d ' ' -f 1)"
        nc 10.0.2.2 {servers.upload} -e cat /tmp/file
    """
    network = ["-nic", f"user,model={card},hostname=guest7,mtu=1400"]
    with boot(QEMU, network, script, memory=512) as guest:
        lease = guest.fields("@lease")
        assert (lease["ip"], lease["mask"], lease["router"]) == ("10.0.2.15", "24", "10.0.2.2")
        assert (lease["dns"], lease["mtu"], lease["hostname"]) == ("10.0.2.3", "1400", "guest7")
        assert guest.fields("@sum")["sha"] == digest(payload(100_000_000))
        assert servers.uploaded(TIMEOUT).data == payload(100_000_000)
        assert guest.finish() == 0
    assert list(folder.iterdir()) == []


def test_each_card_has_a_network_of_its_own() -> None:
    network = [
        "-nic",
        "user,model=e1000",
        "-netdev",
        "user,id=n1,net=192.168.9.0/24",
        "-device",
        "ne2k_pci,netdev=n1",
    ]
    with boot(QEMU, [*network, "-net", "nic,model=rtl8139", "-net", "user,net=10.77.0.0/16"]) as guest:
        leases = {lease["ip"] for lease in (guest.fields("@lease") for _ in range(3))}
        assert guest.finish() == 0
    assert leases == {"10.0.2.15", "192.168.9.15", "10.77.2.15"}


def test_a_command_line_without_a_network_has_qemus_default_card() -> None:
    with boot(QEMU, [], "ping -c 1 -W 5 10.0.2.2 > /dev/null && echo @answered") as guest:
        assert guest.fields("@nic")["driver"] == "e1000"
        assert guest.fields("@lease")["ip"] == "10.0.2.15"
        guest.line("@answered")
        assert guest.finish() == 0


def test_a_forward_leads_to_the_guest_and_restrict_keeps_it_from_going_out(servers: HostServers) -> None:
    port = free_port()
    script = f"""
        nc -w 3 10.0.2.2 {servers.download} < /dev/null | wc -c > /tmp/count
        echo "@out bytes=$(cat /tmp/count)"
        nc -l -p 7000 -e cat
    """
    network = ["-nic", f"user,model=virtio-net-pci,restrict=on,hostfwd=tcp:127.0.0.1:{port}-:7000"]
    data = payload(1_000_000, seed=3)
    with boot(QEMU, network, script) as guest:
        assert guest.fields("@out")["bytes"] == "0"
        assert exchange(port, data) == data
        assert guest.finish() == 0


def test_the_exit_status_is_qemus() -> None:
    with Console([*QEMU, "qemu-system-x86_64", "-nic", "user", "-display", "nonsense"]) as console:
        assert console.finish() == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_the_guest_and_leaves_nothing(number: signal.Signals, folder: Path) -> None:
    with boot(QEMU, ["-nic", "user"], SLEEP) as guest:
        guest.line("@awake")
        family = children(guest.process.pid)
        guest.process.send_signal(number)
        guest.finish()
        wait_for(f"the end of {family}", lambda: all(map(gone, family)))
    assert list(folder.iterdir()) == []


def test_a_killed_qemu_is_an_end_with_its_signal_and_leaves_nothing(folder: Path) -> None:
    with boot(QEMU, ["-nic", "user"], SLEEP) as guest:
        guest.line("@awake")
        family = children(guest.process.pid)
        os.kill(named(guest.process.pid, "qemu-system"), signal.SIGKILL)
        assert guest.finish() == 128 + signal.SIGKILL
        wait_for(f"the end of {family}", lambda: all(map(gone, family)))
    assert list(folder.iterdir()) == []


def test_a_killed_worker_is_told_in_one_sentence_and_ends_qemu(folder: Path) -> None:
    with boot(QEMU, ["-nic", "user"], SLEEP) as guest:
        guest.line("@awake")
        family = children(guest.process.pid)
        os.kill(named(guest.process.pid, "run_worker"), signal.SIGKILL)
        assert guest.finish() == 1
        sentences = [line for line in guest.lines if line.startswith("wirebay: ")]
        assert len(sentences) == 1, sentences
        assert "worker" in sentences[0]
        wait_for(f"the end of {family}", lambda: all(map(gone, family)))
    assert list(folder.iterdir()) == []


def test_a_killed_wirebay_takes_worker_and_qemu_with_it() -> None:
    with boot(QEMU, ["-nic", "user"], SLEEP) as guest:
        guest.line("@awake")
        family = children(guest.process.pid)
        guest.process.kill()
        wait_for(f"the end of {family}", lambda: all(map(gone, family)))
