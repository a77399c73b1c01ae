"""The demo's last part: two guests on one hub, with nothing between them but Wirebay."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path

import wirebay
from tests.examples import commands
from tests.examples.steps import DNS, HOST, INBOUND_PORT
from tests.examples.table import Row, Table
from tests.guests.console import Console, GuestError
from tests.guests.guest import boot
from wirebay.errors import WirebayError
from wirebay.ifconfig import GuestConfig
from wirebay.netns import netns_of, open_tap_in

TITLE = "two guests on one hub"
SIZE = 20_000_000
WAIT = 60.0


def namespaces(table: Table) -> None:
    """Two namespaces and a user network on a hub made with the Python API; one fetches from the other."""
    unshare = ("unshare", "--user", "--map-root-user", "--net", "sh", "-c", "echo @here; exec sleep 100")
    with ExitStack() as stack:
        holders = [stack.enter_context(Console(unshare)) for _ in range(2)]
        try:
            # The line comes from inside: from now on the namespaces exist.
            for holder in holders:
                holder.line("@here", WAIT)
            row = asyncio.run(_on_one_hub([holder.process.pid for holder in holders]))
        except (GuestError, WirebayError) as error:
            row = _failed("namespace", error)
    table.add(row)


async def _on_one_hub(pids: list[int]) -> Row:
    async with wirebay.Network() as net:
        ports = [await net.add("user", id="u0")]
        for number, pid in enumerate(pids):
            address = IPv4Interface(f"10.0.2.{15 + number}/24")
            config = GuestConfig(address=address, gateway=IPv4Address(HOST), dns=IPv4Address(DNS))
            tap = open_tap_in(netns_of(pid), guest=config)
            ports.append(await net.add("tap", id=f"guest{number}", tap=tap, mtu=config.mtu))
        await net.join(*ports)
        return await asyncio.to_thread(_run_both, pids)


def _run_both(pids: list[int]) -> Row:
    values: dict[str, object] = {"size": SIZE, "inbound": INBOUND_PORT, "peer": "10.0.2.15"}
    with ExitStack() as stack:
        giver, taker = (
            stack.enter_context(
                Console([*commands.into(pid), *commands.INSIDE, commands.plan({**values, "steps": [step]})])
            )
            for pid, step in zip(pids, ("give", "take"), strict=True)
        )
        return _transfer(giver, taker, "namespace")


def _transfer(giver: Console, taker: Console, guest: str) -> Row:
    """Follow one transfer between two guests and compare the sums both print."""
    given = giver.fields("@sum", WAIT)
    begin = time.monotonic()
    taker.line("@moved", WAIT)
    seconds = time.monotonic() - begin
    taken = taker.fields("@done", WAIT)
    same = given["sha"] == taken.get("sha")
    note = f"{SIZE // 1_000_000} MB, " + (
        "checksum equal" if same else taken.get("error", "checksum differs")
    )
    return Row(what=TITLE, guest=guest, ok=same, seconds=seconds, size=SIZE, note=note)


def machines(table: Table, script: Callable[[dict[str, object]], str]) -> None:
    """Two QEMU guests and a user network on a hub of `wirebay serve`; one guest fetches from the other."""
    with tempfile.TemporaryDirectory(prefix="wirebay-") as folder:
        sockets = [Path(folder, f"vm{number}.sock") for number in range(2)]
        with Console([commands.wirebay(), "serve", *_serve_words(sockets)]) as server:
            try:
                _wait_for(sockets, server)
                row = _boot_both(sockets, script)
            except GuestError as error:
                row = _failed("QEMU", error)
    table.add(row)


def _serve_words(sockets: list[Path]) -> list[str]:
    words = ["-netdev", "user,id=u0", "-netdev", "hubport,id=h0,hubid=0,netdev=u0"]
    for number, path in enumerate(sockets, start=1):
        words += ["-netdev", f"stream,id=vm{number},server=on,addr.type=unix,addr.path={path}"]
        words += ["-netdev", f"hubport,id=h{number},hubid=0,netdev=vm{number}"]
    return words


def _wait_for(sockets: list[Path], server: Console) -> None:
    end = time.monotonic() + WAIT
    while not all(path.exists() for path in sockets):
        if time.monotonic() > end or server.process.poll() is not None:
            raise server.error("wirebay serve did not make its sockets")
        time.sleep(0.02)


def _boot_both(sockets: list[Path], script: Callable[[dict[str, object]], str]) -> Row:
    addresses = ("192.168.7.1", "192.168.7.2")
    values: dict[str, object] = {"size": SIZE, "inbound": INBOUND_PORT, "peer": addresses[0]}
    with ExitStack() as stack:
        giver, taker = (
            stack.enter_context(boot([], _card(path, mac), script({**values, "steps": [step], "own": own})))
            for path, mac, step, own in zip(
                sockets, ("52:54:00:00:07:01", "52:54:00:00:07:02"), ("give", "take"), addresses, strict=True
            )
        )
        taker.line("@start take", WAIT)
        return _transfer(giver, taker, "QEMU")


def _card(path: Path, mac: str) -> list[str]:
    netdev = f"stream,id=n0,server=off,addr.type=unix,addr.path={path}"
    return ["-netdev", netdev, "-device", f"virtio-net-pci,netdev=n0,mac={mac}"]


def _failed(guest: str, error: Exception) -> Row:
    return Row(what=TITLE, guest=guest, ok=False, note=str(error).replace("\n", " "))
