"""TAP ports in a namespace of their own. What needs a kernel that allows neither is skipped."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from tests.wire.guest import Guest
from wirebay.network import Network
from wirebay.ports.tap import TapPort

pytestmark = pytest.mark.anyio

TOOLS = ("unshare", "nsenter", "ip", "ping")
INSIDE = "echo ready; exec sleep 600"


@pytest.fixture
def namespace() -> Iterator[int]:
    """A process in a network namespace of its own."""
    if not all(map(shutil.which, TOOLS)) or not os.access("/dev/net/tun", os.W_OK):
        pytest.skip(f"{', '.join(TOOLS)} and /dev/net/tun are needed")
    with subprocess.Popen(
        ["unshare", "--user", "--map-root-user", "--net", "sh", "-c", INSIDE], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        if process.stdout.readline() != b"ready\n":
            pytest.skip("user namespaces are not allowed here")
        yield process.pid
        process.kill()


async def inside(pid: int, *command: str) -> str:
    """Run a command in the namespace."""
    words = ["nsenter", "--target", str(pid), "--user", "--net", "--preserve-credentials", *command]
    process = await asyncio.create_subprocess_exec(*words, stdout=subprocess.PIPE)
    output, _ = await process.communicate()
    assert process.returncode == 0
    return output.decode()


async def add_tap(network: Network, pid: int) -> TapPort:
    port = await network.add("tap", id="t0", ifname="tap0", netns=f"/proc/{pid}/ns/net")
    assert isinstance(port, TapPort)
    return port


async def test_a_tap_in_a_namespace_reaches_a_guest(network: Network, namespace: int) -> None:
    tap = await add_tap(network, namespace)
    assert tap.describe() == f"t0: tap tap0 in /proc/{namespace}/ns/net"
    guest, port = await Guest.on(network, "vm0")
    guest.address = "10.9.9.2"
    with guest:
        await network.join(tap, port)
        await inside(namespace, "ip", "addr", "add", "10.9.9.1/24", "dev", "tap0")
        await inside(namespace, "ip", "link", "set", "tap0", "up")
        pinging = asyncio.create_task(inside(namespace, "ping", "-c1", "-W5", "10.9.9.2"))
        request = await guest.packet(lambda packet: packet.protocol == 1)
        await guest.send_ipv4(1, request.source, reply_to(request.payload))
        assert "1 received" in await pinging


def reply_to(request: bytes) -> bytes:
    """The ICMP echo reply to a request: another type, and the checksum with it."""
    check = int.from_bytes(request[2:4], "big") + 0x0800
    return b"\0\0" + ((check & 0xFFFF) + (check >> 16)).to_bytes(2, "big") + request[4:]


async def test_a_tap_that_is_deleted_is_told_and_the_others_go_on(network: Network, namespace: int) -> None:
    tap = await add_tap(network, namespace)
    first, port = await Guest.on(network, "vm0")
    second, other = await Guest.on(network, "vm1")
    with first, second:
        await network.join(tap, port, other)
        await inside(namespace, "ip", "link", "set", "tap0", "up")
        await inside(namespace, "ip", "link", "del", "tap0")
        assert "tap port 't0' is gone" in await asyncio.wait_for(tap.failed, 5)
        assert set(network.ports) == {"vm0", "vm1"}
        await first.send(bytes(60))
        while await second.receive() != bytes(60):
            pass
    await add_tap(network, namespace)


async def test_the_interface_goes_with_the_network(namespace: int) -> None:
    async with Network() as network:
        await add_tap(network, namespace)
        assert "tap0" in await inside(namespace, "ip", "-o", "link")
    assert "tap0" not in await inside(namespace, "ip", "-o", "link")
