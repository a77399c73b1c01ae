"""A daemon as a process: reloads under a live connection, started by systemd, ended by control."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from qemu.qmp import EventListener, QMPClient

from tests.wire.guest import GATEWAY, Guest
from tests.wire.test_serve import COMMAND, serving

pytestmark = pytest.mark.anyio

PATIENCE = 10

# Puts the descriptors where systemd would, and becomes the command.
ACTIVATE = """
import fcntl, os, sys
fds = [fcntl.fcntl(int(fd), fcntl.F_DUPFD, 100) for fd in sys.argv[1].split(",")]
for number, fd in enumerate(fds):
    os.dup2(fd, 3 + number, inheritable=True)
os.environ["LISTEN_PID"] = str(os.getpid())
os.execv(sys.argv[2], sys.argv[2:])
"""


def free_ports(count: int) -> list[int]:
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


class Lab:
    """A file of a user network and a guest's socket, with forwards to change."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.file = directory / "lab.toml"

    def write(self, *hostfwd: str, further: str = "") -> None:
        rules = ", ".join(f'"{rule}"' for rule in hostfwd)
        self.file.write_text(f"""\
control = "{self.directory}/control.sock"
{further}
[[netdev]]
type = "user"
id = "u0"
hostfwd = [{rules}]
[[netdev]]
type = "stream"
id = "vm0"
server = true
addr = {{ type = "unix", path = "{self.directory}/vm0.sock" }}
""")

    def guest(self) -> Guest:
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(str(self.directory / "vm0.sock"))
        return Guest(sock)

    def ctl(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [*COMMAND[:-1], "ctl", "--socket", str(self.directory / "control.sock"), *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=30)


async def event(events: EventListener, name: str) -> dict[str, object]:
    while (told := await asyncio.wait_for(events.get(), PATIENCE))["event"] != name:
        pass
    data = told["data"]
    assert isinstance(data, dict)
    return data


async def test_a_connection_outlives_a_reload_that_changes_what_is_around_it(tmp_path: Path) -> None:
    lab, (old, new) = Lab(tmp_path), free_ports(2)
    lab.write(f"tcp:127.0.0.1:{old}-:80")
    with serving(words=("--config", str(lab.file))) as process:
        client, events = QMPClient("test"), EventListener()
        await client.connect(str(tmp_path / "control.sock"))
        client.register_listener(events)
        with lab.guest() as guest:
            await guest.announce()
            connecting = asyncio.open_connection("127.0.0.1", old)
            connection, (reader, writer) = await asyncio.gather(guest.accept(80), connecting)
            writer.write(b"before")
            assert await connection.receive(6) == b"before"

            added = (
                '[[netdev]]\ntype = "user"\nid = "u1"\n[[netdev]]\ntype = "hubport"\nid = "h"\nhubid = 1\n'
            )
            lab.write(f"tcp:127.0.0.1:{new}-:81")
            process.send_signal(signal.SIGHUP)
            told = await event(events, "WIREBAY_RELOADED")
            assert told == {"added": [], "removed": [], "replaced": [], "updated": ["u0"]}
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.1", old)
            connecting = asyncio.open_connection("127.0.0.1", new)
            other, (_, second) = await asyncio.gather(guest.accept(81), connecting)
            assert other.peer[0] == GATEWAY
            second.close()

            # A mistake changes nothing, and is told with its place.
            lab.write(further="nonsense = 1")
            wrong = await asyncio.to_thread(lab.ctl, "reload")
            assert (wrong.returncode, wrong.stderr) == (
                1,
                f"wirebay: {lab.file}:2: Parameter 'nonsense' is unexpected\n",
            )
            lab.file.write_text(lab.file.read_text().replace("nonsense = 1", "") + added)
            done = await asyncio.to_thread(lab.ctl, "reload")
            assert done.stdout == "opened u1, h; rules of u0\n"
            lab.write()
            done = await asyncio.to_thread(lab.ctl, "reload")
            assert done.stdout == "closed u1, h\n"

            flows = await client.execute("query-flows", {"netdev-id": "u0"})
            (flow,) = [flow for flow in flows["flows"] if flow["guest-port"] == 80]  # type: ignore[index]
            assert (flow["state"], flow["to-guest"], flow["guest"]) == ("open", 6, guest.address)
            await connection.send(b"after")
            assert await reader.readexactly(5) == b"after"
            writer.close()
        await client.disconnect()
        assert (await asyncio.to_thread(lab.ctl, "quit")).returncode == 0
        _, errors = process.communicate(timeout=10)
        assert (process.returncode, "Traceback" in errors) == (0, False)
        assert not (tmp_path / "control.sock").exists()


@contextmanager
def activated(lab: Lab, *listeners: socket.socket, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """The daemon as systemd starts it, with these sockets."""
    fds = [listener.fileno() for listener in listeners]
    script = [sys.executable, "-c", "import sys; from wirebay.cli import main; sys.exit(main())"]
    command = [sys.executable, "-c", ACTIVATE, ",".join(map(str, fds)), *script]
    with subprocess.Popen(
        [*command, "serve", "--config", str(lab.file)],
        pass_fds=fds, env={**os.environ, **environment}, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            yield process
        finally:
            process.kill()


async def heard(ear: socket.socket, wanted: str) -> None:
    """Wait until the service manager is told this."""
    while (
        wanted
        not in (await asyncio.wait_for(asyncio.get_running_loop().sock_recv(ear, 4096), PATIENCE)).decode()
    ):
        pass


async def test_systemd_opens_its_sockets_and_hears_how_it_goes(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    lab.write()
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear,
        socket.socket(socket.AF_UNIX) as vm0,
        socket.socket(socket.AF_UNIX) as control,
    ):
        ear.bind(str(tmp_path / "notify"))
        ear.setblocking(False)
        for listener, name in ((vm0, "vm0.sock"), (control, "control.sock")):
            listener.bind(str(tmp_path / name))
            listener.listen()
        early = lab.guest()  # before the daemon is there
        names = {
            "LISTEN_FDS": "2",
            "LISTEN_FDNAMES": "vm0:control",
            "NOTIFY_SOCKET": str(tmp_path / "notify"),
        }
        with activated(lab, vm0, control, **names) as process:
            await heard(ear, "READY=1")
            with early:
                await early.announce()
                ports = await asyncio.to_thread(lab.ctl, "ports")
                assert f"unix:{tmp_path}/vm0.sock" in ports.stdout
                process.send_signal(signal.SIGHUP)
                await heard(ear, "RELOADING=1")
                await heard(ear, "READY=1")
                process.send_signal(signal.SIGTERM)
                await heard(ear, "STOPPING=1")
            _, errors = process.communicate(timeout=10)
            assert (process.returncode, "Traceback" in errors) == (0, False)
        assert (tmp_path / "vm0.sock").exists()
        assert (tmp_path / "control.sock").exists()


async def test_a_socket_for_nothing_here_ends_it_with_one_sentence(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    lab.write()
    names = {"LISTEN_FDS": "1", "LISTEN_FDNAMES": "web"}
    with socket.create_server(("127.0.0.1", 0)) as listener, activated(lab, listener, **names) as process:
        _, errors = process.communicate(timeout=10)
    assert process.returncode == 2
    assert errors == (
        "wirebay: the socket 'web' of LISTEN_FDS is for nothing here: "
        "FileDescriptorName= takes api-socket, control, vm0\n"
    )


def test_all_mistakes_of_a_file_are_told_and_the_status_is_2(tmp_path: Path) -> None:
    (tmp_path / "f").write_text('a = 1\n[[netdev]]\ntype = "user"\nid = "u0"\nfoo = 2\n')
    done = subprocess.run(
        [*COMMAND, "--config", str(tmp_path / "f")], capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        f"wirebay: 2 mistakes in {tmp_path}/f",
        f"{tmp_path}/f:1: Parameter 'a' is unexpected",
        f"{tmp_path}/f:5: Parameter 'foo' is unexpected",
    ]
