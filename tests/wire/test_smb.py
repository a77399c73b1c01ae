"""A real smbd, as it is started for guests, and a real client, over loopback."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import time
from collections.abc import AsyncIterator
from ipaddress import ip_address
from pathlib import Path

import pytest

from tests.support import require_tool
from wirebay.services.proxy_relay import relay
from wirebay.services.smb import EXTRA_PATH, SmbServer
from wirebay.services.tcp import Client

pytestmark = pytest.mark.anyio

GUEST = Client(ip_address("10.0.2.15"), 4000)


@pytest.fixture
def share(tmp_path: Path) -> Path:
    if shutil.which("smbd", path=f"{os.environ['PATH']}:{EXTRA_PATH}") is None:
        require_tool("smbd", "samba")
    share = tmp_path / "share"
    share.mkdir()
    (share / "hello.txt").write_text("hello from the host\n")
    return share


@pytest.fixture
async def port(anyio_backend: str, share: Path) -> AsyncIterator[int]:
    """A port on loopback, each connection to which gets a far end as a guest's would."""
    server = SmbServer(str(share))
    private = server.command()[2]
    tasks: set[asyncio.Task[None]] = set()

    async def serve(listener: socket.socket) -> None:
        while True:
            client, _ = await asyncio.get_running_loop().sock_accept(listener)
            far = await server.connect(GUEST)
            far.setblocking(False)
            tasks.add(asyncio.create_task(bridge(client, far)))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        tasks.add(asyncio.create_task(serve(listener)))
        yield listener.getsockname()[1]
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    await server.close()
    assert not is_there(private)
    await asyncio.wait_for(asyncio.to_thread(wait_until_none_runs, private), 10)


def wait_until_none_runs(word: str) -> None:
    while running_with(word):
        time.sleep(0.01)


def is_there(path: str) -> bool:
    return Path(path).exists()


async def bridge(client: socket.socket, far: socket.socket) -> None:
    with client, far:
        await relay(client, far)


def running_with(word: str) -> list[str]:
    """The command lines that have `word` in them."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = entry.read_bytes()
        except OSError:
            continue
        if word.encode() in line:
            found.append(line.decode(errors="replace"))
    return found


async def smbclient(port: int, *arguments: str) -> str:
    program = require_tool("smbclient", "smbclient")
    process = await asyncio.create_subprocess_exec(
        program, "-N", "-p", str(port), *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        output, _ = await asyncio.wait_for(process.communicate(), 60)
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode == 0, output.decode()
    return output.decode()


async def test_a_client_lists_the_share(port: int) -> None:
    assert "qemu" in await smbclient(port, "-L", "127.0.0.1")


async def test_a_client_reads_and_writes_as_a_guest(port: int, share: Path, tmp_path: Path) -> None:
    (tmp_path / "upload").write_bytes(bytes(range(256)) * 4000)
    command = f"get hello.txt -; put {tmp_path / 'upload'} uploaded"
    assert "hello from the host" in await smbclient(port, "//127.0.0.1/qemu", "-c", command)
    assert (share / "uploaded").read_bytes() == bytes(range(256)) * 4000
    assert (share / "uploaded").stat().st_uid == os.geteuid()
