"""A network that runs and is used, controlled by QEMU's own client library."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from qemu.qmp import EventListener, ExecuteError, QMPClient

from tests.wire.guest import GATEWAY, GUEST, Guest
from tests.wire.packets import ICMP, checksum, dhcp
from tests.wire.test_serve import COMMAND, serving
from wirebay.control.server import controlled
from wirebay.network import Network

pytestmark = pytest.mark.anyio

PATIENCE = 10
ECHO_REPLY, ECHO_REQUEST = 0, 8


@pytest.fixture
async def qmp(network: Network, tmp_path: Path) -> AsyncIterator[QMPClient]:
    """A client of the network."""
    async with controlled(network, str(tmp_path / "control.sock")):
        client = QMPClient("test")
        await client.connect(str(tmp_path / "control.sock"))
        yield client
        await client.disconnect()


@pytest.fixture
async def guest(network: Network) -> AsyncIterator[Guest]:
    guest, port = await Guest.on(network, "vm0")
    await network.join(await network.add("user", id="u0"), port)
    with guest:
        await guest.announce()
        yield guest


async def ask(qmp: QMPClient, command: str, **arguments: object) -> Any:
    given = {name.replace("_", "-"): value for name, value in arguments.items()}
    return await qmp.execute(command, given)


async def test_a_forward_is_added_used_and_removed_while_the_network_runs(
    guest: Guest, qmp: QMPClient
) -> None:
    opened = await ask(qmp, "wirebay-forward-add", rule="tcp:127.0.0.1:0-:80")
    number = opened["host-port"]
    connecting = asyncio.open_connection("127.0.0.1", number)
    connection, (reader, writer) = await asyncio.gather(guest.accept(80), connecting)
    assert connection.peer[0] == GATEWAY
    writer.write(b"question")
    assert await connection.receive(8) == b"question"
    assert (await ask(qmp, "wirebay-query-stats"))["ports"]["u0"]["flows"]["tcp"] == 1
    # The forward goes; the connection that came through it does not.
    answer = await ask(qmp, "human-monitor-command", command_line=f"hostfwd_remove tcp:127.0.0.1:{number}")
    assert answer == f"host forwarding rule for tcp:127.0.0.1:{number} removed\r\n"
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", number)
    await connection.send(b"answer")
    assert await reader.readexactly(6) == b"answer"
    writer.close()


async def test_a_server_in_the_guests_network_comes_and_goes_while_it_runs(
    guest: Guest, qmp: QMPClient
) -> None:
    place = {"rule": "udp:10.0.2.100:7", "type": "guestfwd"}
    loop = asyncio.get_running_loop()
    with socket.socket(type=socket.SOCK_DGRAM) as server:
        server.setblocking(False)
        server.bind(("127.0.0.1", 0))
        number = server.getsockname()[1]
        await ask(qmp, "wirebay-forward-add", **{**place, "rule": f"{place['rule']}-udp:127.0.0.1:{number}"})
        await guest.send_udp((GUEST, 4000), ("10.0.2.100", 7), b"question")
        question, client = await asyncio.wait_for(loop.sock_recvfrom(server, 100), PATIENCE)
        await loop.sock_sendto(server, b"answer", client)
        assert question == b"question"
        assert await guest.datagram(4000) == (("10.0.2.100", 7), b"answer")
        await ask(qmp, "wirebay-forward-remove", **place)
        assert await ask(qmp, "wirebay-query-forwards") == []


async def test_a_guest_joins_a_running_network_and_leaves_it(
    guest: Guest, qmp: QMPClient, tmp_path: Path
) -> None:
    path = tmp_path / "vm1.sock"
    addr = {"type": "unix", "path": str(path)}
    events = EventListener()
    qmp.register_listener(events)
    await ask(qmp, "netdev_add", type="stream", id="vm1", server=True, addr=addr)
    with socket.socket(socket.AF_UNIX) as peer:
        peer.connect(str(path))
        newcomer = Guest(peer, 2)
        newcomer.address = "10.0.2.16"
        await newcomer.announce()
        connected = await asyncio.wait_for(events.get(), PATIENCE)
        assert connected["event"] == "NETDEV_STREAM_CONNECTED"
        assert connected["data"] == {"netdev-id": "vm1", "addr": addr}
    disconnected = await asyncio.wait_for(events.get(), PATIENCE)
    assert (disconnected["event"], disconnected["data"]) == (
        "NETDEV_STREAM_DISCONNECTED",
        {"netdev-id": "vm1"},
    )
    await ask(qmp, "netdev_del", id="vm1")
    assert not path.exists()
    with pytest.raises(ExecuteError) as error:
        await ask(qmp, "netdev_del", id="vm1")
    assert (error.value.error_class, str(error.value)) == ("DeviceNotFound", "Device 'vm1' not found")


async def test_a_lease_is_told_and_listed(guest: Guest, qmp: QMPClient) -> None:
    events = EventListener()
    qmp.register_listener(events)
    guest.address = "0.0.0.0"
    request = dhcp(guest.mac, {53: b"\x03", 50: socket.inet_aton(GUEST)})
    await guest.send_udp(("0.0.0.0", 68), ("255.255.255.255", 67), request)
    event = await asyncio.wait_for(events.get(), PATIENCE)
    lease = {"netdev-id": "u0", "mac": guest.mac.hex(":"), "address": GUEST, "name": None}
    assert (event["event"], event["data"]) == ("WIREBAY_LEASE", lease)
    (listed,) = await ask(qmp, "wirebay-query-leases")
    assert 0 < listed.pop("expires") <= 86400
    assert listed == lease


async def answer_ping(guest: Guest) -> None:
    """Answer one echo request."""
    request = await guest.packet(lambda packet: packet.protocol == ICMP)
    assert request.payload[0] == ECHO_REQUEST
    reply = bytes((ECHO_REPLY, 0, 0, 0)) + request.payload[4:]
    await guest.send_ipv4(ICMP, request.source, reply[:2] + checksum(reply).to_bytes(2) + reply[4:])


async def test_a_guest_is_pinged(guest: Guest, qmp: QMPClient) -> None:
    async with asyncio.TaskGroup() as both:
        asking = both.create_task(ask(qmp, "wirebay-ping", netdev_id="u0", timeout=PATIENCE))
        both.create_task(answer_ping(guest))
    answer = asking.result()
    assert 0 < answer.pop("time") < PATIENCE
    assert answer == {"address": GUEST, "ttl": 64, "size": 56}


async def test_qemus_shell_works(guest: Guest, network: Network, tmp_path: Path) -> None:
    async with controlled(network, str(tmp_path / "shell.sock")):
        shell = await asyncio.create_subprocess_exec(
            sys.executable, "-c", "from qemu.qmp.qmp_shell import main; main()", str(tmp_path / "shell.sock"),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, "HOME": str(tmp_path)},
        )  # fmt: skip
        told = b"query-status\nnetdev_del id=zz\n"
        said, _ = await asyncio.wait_for(shell.communicate(told), 3 * PATIENCE)
    assert b'"running": true' in said
    assert b"Device 'zz' not found" in said


def test_serve_listens_where_qemus_option_says_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    words = ("-qmp", f"unix:{path},server=on,wait=off")
    with serving("user,id=u0", words=words) as process:
        asked = subprocess.run(
            [*COMMAND[:-1], "ctl", "--socket", str(path), "ports"],
            capture_output=True, text=True, timeout=30, check=True,
        )  # fmt: skip
        assert asked.stdout.splitlines()[1] == "u0    user  #1   user network 10.0.2.0/24 and fec0::/64"
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=10)
        assert process.returncode == 0
        assert "Traceback" not in errors
        assert not path.exists()


def test_a_place_that_is_taken_ends_serve_with_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    with serving("user,id=u0", words=("--control", str(path))):
        done = subprocess.run(
            [*COMMAND, "-netdev", "user,id=u0", "--control", str(path)],
            capture_output=True, text=True, timeout=30,
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == f"wirebay: --control {path}: another process listens there"
