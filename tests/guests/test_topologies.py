"""The networks of docs/topologies.md: their commands as they are, with cards at the sockets of the guests."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, commands
from tests.guests.console import Console
from tests.guests.place import Place, place
from tests.support import require_namespaces
from tests.wire.guest import Guest
from tests.wire.packets import ARP, BROADCAST, IPV4, arp, ethernet

pytestmark = pytest.mark.anyio

PAGE = ROOT / "docs" / "topologies.md"
WIREBAY = [sys.executable, "-m", "wirebay"]
AGAIN = 0.2  # seconds until a frame is sent again
EXPERIMENTAL = 0x88B5  # an EtherType for tests (IEEE 802, local experiments)


def example(part: str) -> list[str]:
    """The words behind `wirebay` of the command on the page that has this in it."""
    return next(words[1:] for words in commands(PAGE) if any(part in word for word in words))


@contextmanager
def running(
    words: Sequence[str], directory: Path, within: Sequence[str] = (), ready: str = "vm0"
) -> Iterator[Console]:
    """The command, until it has its ports; relative paths are in the directory."""
    free = [re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:0", word) for word in words]
    # Another mount namespace has its own idea of where we are.
    with Console([*within, "env", f"--chdir={directory}", *WIREBAY, *free]) as console:
        console.line(f"{ready}: ")
        yield console


def card(path: Path, number: int, address: str = "10.0.2.15") -> Guest:
    """A card at the socket of a guest."""
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.connect(str(path))
    except BaseException:
        sock.close()
        raise
    guest = Guest(sock, number)
    guest.address = address
    return guest


async def reaches(sender: Guest, receiver: Guest) -> None:
    """A frame of one card arrives at another. It is sent until then: the other may still be connecting."""
    data = os.urandom(50)
    sending = asyncio.create_task(repeat(sender, ethernet(receiver.mac, sender.mac, EXPERIMENTAL, data)))
    try:
        while not (await receiver.receive()).endswith(data):
            pass
    finally:
        sending.cancel()


async def repeat(sender: Guest, frame: bytes) -> None:
    """Send a frame again and again."""
    while True:
        await sender.send(frame)
        await asyncio.sleep(AGAIN)


async def resolves(guest: Guest, address: str) -> None:
    """Somebody on the segment answers for the address."""
    question = arp(1, guest.mac, guest.address, bytes(6), address)
    await guest.send(ethernet(BROADCAST, guest.mac, ARP, question))
    wanted = struct.pack("!HHBBH", 1, IPV4, 6, 4, 2)
    while (frame := await guest.receive())[14:22] != wanted or frame[28:32] != socket.inet_aton(address):
        pass


async def test_two_machines_see_each_other(tmp_path: Path) -> None:
    words = next(words[1:] for words in commands(PAGE))
    assert "user" not in " ".join(words)
    with running(words, tmp_path, ready="vm1"), ExitStack() as cards:
        one, two = (cards.enter_context(card(tmp_path / f"vm{number}.sock", number)) for number in range(2))
        await reaches(one, two)
        await reaches(two, one)


async def test_three_machines_on_a_switch_have_a_way_out_and_are_moved(tmp_path: Path) -> None:
    moves = [words[1:] for words in commands(PAGE) if words[1:2] == ["ctl"]]
    assert [words[-1] for words in moves] == ["hub1", "lan"]

    async def move(words: list[str]) -> None:
        done = await asyncio.to_thread(
            subprocess.run, [*WIREBAY, *words], cwd=tmp_path, capture_output=True, text=True, timeout=30
        )
        assert (done.returncode, done.stderr) == (0, "")

    with running(example("switchport"), tmp_path, ready="p3"), ExitStack() as cards:
        while not (tmp_path / "lab.sock").exists():  # noqa: ASYNC110 - the socket of a process
            await asyncio.sleep(0.01)
        one, two, three = (
            cards.enter_context(card(tmp_path / f"vm{number}.sock", number, f"10.0.2.{15 + number}"))
            for number in range(3)
        )
        for guest in (one, two, three):
            await guest.announce()
        await reaches(one, three)
        await move(moves[0])
        await one.send(ethernet(BROADCAST, one.mac, EXPERIMENTAL, b"for the switch" + bytes(50)))
        await reaches(one, two)  # the broadcast has gone by then
        await move(moves[1])
        await three.announce()
        seen = three._buffer
        assert b"for the switch" not in seen
        await reaches(three, one)


@pytest.fixture
def host() -> Iterator[Place]:
    """A host of our own."""
    require_namespaces()
    with place() as ours:
        yield ours


async def test_a_machine_is_on_a_bridge_of_the_host(host: Place, tmp_path: Path) -> None:
    lines = PAGE.read_text().splitlines()
    made = [line.strip() for line in lines if line.startswith("    ip ") and "tap0" in line]
    assert len(made) == 2
    host.shell("ip link add br0 type bridge; ip addr add 10.9.9.1/24 dev br0; ip link set br0 up")
    host.shell("\n".join(made).replace("user $USER", ""))
    words = example("ifname=tap0")
    with running(words, tmp_path, host.into), card(tmp_path / "vm0.sock", 1, "10.9.9.2") as guest:
        await resolves(guest, "10.9.9.1")


async def test_a_machine_is_joined_to_another_host(host: Place, tmp_path: Path) -> None:
    words = example("vxlan")
    there = [word.replace("192.0.2.2", "192.0.2.1") for word in words]
    with place(host.into, ("--net", "--mount")) as other, ExitStack() as stack:
        host.link(other, "192.0.2.1/24", "192.0.2.2/24")
        guests = []
        for number, (where, command) in enumerate(((host, words), (other, there))):
            directory = tmp_path / str(number)
            directory.mkdir()
            stack.enter_context(running(command, directory, where.into))
            guests.append(stack.enter_context(card(directory / "vm0.sock", number)))
        await reaches(guests[0], guests[1])
        await reaches(guests[1], guests[0])
