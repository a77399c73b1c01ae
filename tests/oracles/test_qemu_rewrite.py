"""Rewritten command lines and the real QEMU: it takes them, and the guest sees the same cards."""

from __future__ import annotations

import contextlib
import re
import shlex
import socket
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.guests.processes import WIREBAY
from tests.support import require_tool
from wirebay.options.qemu_command import rewrite
from wirebay.options.qemu_words import FLAGS

TIMEOUT = 30
# The back ends a user network has before and after.
USER_TYPES = {"user", "stream", "vhost-user"}


@pytest.fixture(scope="module")
def qemu() -> str:
    return require_tool("qemu-system-x86_64", "qemu-system-x86")


class Machine(NamedTuple):
    """What a monitor says of the network."""

    segments: list[tuple[list[str], int]]  # the cards that reach each other, and how many user networks
    slots: list[tuple[str, ...]]  # model, PCI slot and MAC address of each card, in the order of the bus
    memory: list[str]  # bytes
    warnings: str


def ask(argv: list[str], listeners: list[socket.socket]) -> Machine:
    """Run QEMU, see it come to every listener, and ask its monitor."""
    with subprocess.Popen(
        [*argv, "-S", "-display", "none", "-monitor", "stdio"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as run:
        try:
            # It connects in the background, so it must not be told to quit before.
            peers = [listener.accept()[0] for listener in listeners]
            stdout, stderr = run.communicate(
                "info network\ninfo qtree\ninfo memory_size_summary\nquit\n", TIMEOUT
            )
        finally:
            run.kill()
    for peer in peers:
        peer.close()
    assert run.returncode == 0, stderr
    blocks = re.split(r"\n\s*dev: ", stdout)
    slots = [
        (
            block.split(",")[0],
            *re.findall(r"\baddr = (\S+)", block)[:1],
            *re.findall(r'\bmac = "([^"]+)"', block),
        )
        for block in blocks
        if re.search(r'\bmac = "', block)
    ]
    return Machine(read_segments(stdout), slots, re.findall(r"base memory: (\d+)", stdout), stderr)


def read_segments(text: str) -> list[tuple[list[str], int]]:
    segments: list[tuple[list[str], int]] = []
    for line in text.splitlines():
        if not re.match(r"hub \d+$| \\ |\S+: index=", line):
            continue
        if not line.startswith(" \\"):
            segments.append(([], 0))
        cards, users = segments[-1]
        if match := re.search(r"(\S+): index=\d+,type=([\w-]+)(?:,model=([\w-]+),macaddr=(\S+))?", line):
            if match[2] == "nic":
                cards.append(f"{match[1]} {match[3]} {match[4]}")
            segments[-1] = (sorted(cards), users + (match[2] in USER_TYPES))
    return sorted(segments)


COMMAND_LINES = [
    "",
    "-M q35",
    "-netdev user,id=u0 -device e1000,netdev=u0",
    """-netdev '{"type":"user","id":"u0"}' -device virtio-net-pci,netdev=u0,mac=52:54:00:aa:00:01""",
    "-netdev user,id=u0 -netdev hubport,id=h0,hubid=5,netdev=u0 -nic hubport,hubid=5",
    "-nic user",
    "-nic user,model=virtio,mac=52:54:00:aa:00:01,id=x -nic model=rtl8139",
    "-nic user,mac=0x10 -nic user,mac= -nic none",
    "-nic user -nic hubport,hubid=1,model=rtl8139 -nic user,model=ne2k_pci",
    "-net nic,model=rtl8139 -nic user,model=e1000",
    "-nic user,model=e1000 -net nic,model=rtl8139 -net user",
    "-net nic -net user",
    "-net user,id=n -net nic,model=rtl8139 -net nic,model=e1000",
    "-nic user -netdev user,id=u1 -device e1000,netdev=u1 -net nic,model=pcnet -net user",
]


@pytest.mark.parametrize("line", COMMAND_LINES)
def test_the_guest_sees_the_same_cards_on_the_same_segments(line: str, qemu: str, tmp_path: Path) -> None:
    argv = [qemu, *shlex.split(line)]
    changed = rewrite(argv, str(tmp_path))
    assert changed.networks
    with contextlib.ExitStack() as stack:
        listeners = [stack.enter_context(listen(served.path)) for served in changed.networks]
        before, after = ask(argv, []), ask(changed.argv, listeners)
    assert before.slots
    assert after == before


SHARED = [
    "-m 64 -netdev user,id=u0 -device virtio-net-pci,netdev=u0,mac=52:54:00:aa:00:01",
    "-M q35 -nic user,model=virtio -nic user,model=virtio-net-pci,id=x",
    "-accel tcg -net user -m size=200M -net nic,model=virtio",
    """-netdev '{"type":"user","id":"u0"}' -device '{"driver":"virtio-net-pci","netdev":"u0"}'""",
    (
        "-m 32 -object memory-backend-memfd,id=ram,size=32M -M pc,memory-backend=ram -netdev user,id=u0 "
        "-net nic,netdev=u0,model=virtio"
    ),
]


@pytest.mark.parametrize("line", SHARED)
def test_over_vhost_user_it_has_the_same_cards_and_the_same_memory(line: str, qemu: str) -> None:
    argv = [qemu, *shlex.split(line)]
    before = ask(argv, [])
    # Wirebay runs QEMU itself, since QEMU waits until somebody speaks vhost-user with it.
    after = ask([*WIREBAY, "qemu", "--transport", "vhost-user", "--", *argv], [])
    assert before.slots
    assert (after.slots, after.segments, after.memory) == (before.slots, before.segments, before.memory)


def listen(path: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    listener.settimeout(TIMEOUT)
    listener.bind(path)
    listener.listen()
    return listener


def test_a_machine_without_cards_is_left_alone(qemu: str) -> None:
    for machine in ("none", "microvm"):
        assert rewrite([qemu, "-M", machine], "/run").argv == [qemu, "-M", machine]
        cards = [cards for cards, _ in ask([qemu, "-M", machine], []).segments]
        assert cards == [[]]


def test_the_table_of_options_without_an_argument_is_qemus(qemu: str) -> None:
    text = subprocess.run([qemu, "-help"], capture_output=True, text=True, timeout=TIMEOUT, check=True).stdout
    listed = set(re.findall(r"^-{1,2}([\w-]+)", text, re.MULTILINE))
    assert len(listed) > 80
    wrong = {name for name in listed | FLAGS if takes_argument(qemu, name) not in (None, name not in FLAGS)}
    assert not wrong


def takes_argument(qemu: str, name: str) -> bool | None:
    """Whether QEMU swallows the word after the option; None if it does not know the option."""
    run = subprocess.run(
        [qemu, f"-{name}", "-no-such-1", "-no-such-2"],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    if f"-{name}: invalid option" in run.stderr:
        return None
    return "-no-such-2: invalid option" in run.stderr
