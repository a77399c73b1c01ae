"""Stream ports: who is let in, who is called back, and what stays behind."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from tests.unit.fake_worker import FakeWorker, Request, refusal
from tests.unit.lab import lab, open_descriptors, unix_server, until
from wirebay.errors import HostError, OptionError
from wirebay.network import Network
from wirebay.options.types import FdAddr, InetAddr, StreamOptions, UnixAddr
from wirebay.ports.stream import StreamPort

pytestmark = pytest.mark.anyio

LOOPBACK = InetAddr(
    host="127.0.0.1", port="0", ipv4=None, ipv6=None, keep_alive=False, numeric=False, to=None
)


def client(addr: InetAddr | UnixAddr | FdAddr, reconnect_ms: int = 0) -> StreamOptions:
    return StreamOptions(id="vm0", server=False, addr=addr, reconnect_ms=reconnect_ms)


def server(addr: InetAddr | UnixAddr | FdAddr) -> StreamOptions:
    return StreamOptions(id="vm0", server=True, addr=addr)


async def add(network: Network, options: StreamOptions) -> StreamPort:
    port = await network.add(options)
    assert isinstance(port, StreamPort)
    return port


async def attached(fake: FakeWorker, times: int = 1) -> socket.socket:
    """The socket that the worker got with the stream_attach of that number."""
    request = await fake.asked("stream_attach", times)
    assert request["port"] == "vm0"
    (fd,) = fake.fds_of(request)
    return socket.socket(fileno=os.dup(fd))


def dial(path: Path | str) -> socket.socket:
    peer = socket.socket(socket.AF_UNIX)
    peer.connect(str(path))
    return peer


def port_of(port: StreamPort) -> int:
    return int(port.address.rpartition(":")[2])


async def test_a_server_hands_its_peer_to_the_worker(tmp_path: Path) -> None:
    path = tmp_path / "sock"
    async with lab() as (network, fake):
        port = await add(network, unix_server("vm0", path))
        assert port.describe() == f"vm0: listening on unix:{path}"
        with dial(path) as peer, await attached(fake) as theirs:
            peer.send(b"frame")
            assert theirs.recv(10) == b"frame"
            assert not os.get_blocking(theirs.fileno())


async def test_the_first_peer_is_told_to_who_waits_for_it(tmp_path: Path) -> None:
    async with lab() as (network, fake):
        port = await add(network, server(UnixAddr(path=str(tmp_path / "sock"))))
        assert not port.connected.done()
        with dial(tmp_path / "sock"):
            await asyncio.wait_for(port.connected, 10)
            assert fake.sent("stream_attach")


async def test_a_second_peer_waits_until_the_first_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "sock"
    async with lab() as (network, fake):
        await add(network, unix_server("vm0", path))
        with dial(path), dial(path) as second:
            await fake.asked("stream_attach")
            await network.stats()
            assert len(fake.sent("stream_attach")) == 1
            fake.send({"event": "stream_closed", "port": "vm0", "reason": "the peer closed the connection"})
            with await attached(fake, 2) as theirs:
                second.send(b"second")
                assert theirs.recv(10) == b"second"


async def test_why_a_peer_went_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "wirebay")
    async with lab() as (network, fake):
        await add(network, unix_server("vm0", tmp_path / "sock"))
        with dial(tmp_path / "sock"):
            await fake.asked("stream_attach")
            fake.send({"event": "stream_closed", "port": "vm0", "reason": "a frame of 70000 bytes came"})
            await network.stats()
    assert "stream port 'vm0': a frame of 70000 bytes came" in caplog.messages


async def test_a_peer_that_the_worker_refuses_is_dropped_and_the_next_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wirebay.ports.peers.PAUSE", 0)
    async with lab() as (network, fake):
        fake.answers["stream_attach"] = refusal("host", "no room")
        await add(network, unix_server("vm0", tmp_path / "sock"))
        with dial(tmp_path / "sock"):
            await fake.asked("stream_attach")
            del fake.answers["stream_attach"]
        with dial(tmp_path / "sock"):
            await fake.asked("stream_attach", 2)


async def test_a_listening_socket_replaces_a_socket_that_is_there(tmp_path: Path) -> None:
    path = tmp_path / "sock"
    with socket.socket(socket.AF_UNIX) as old:
        old.bind(str(path))
    async with lab() as (network, fake):
        await add(network, unix_server("vm0", path))
        with dial(path):
            await fake.asked("stream_attach")
    assert not path.exists()


async def test_a_path_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("data")
    async with lab() as (network, _):
        with pytest.raises(HostError) as error:
            await add(network, unix_server("vm0", path))
        sentence = f"Failed to bind socket to '{path}': the path exists and is not a socket"
        assert str(error.value) == sentence
    assert path.read_text() == "data"


async def test_a_path_that_somebody_else_took_over_is_left_to_them(tmp_path: Path) -> None:
    path = tmp_path / "sock"
    async with lab() as (network, _):
        await add(network, unix_server("vm0", path))
        path.unlink()
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(str(path))
    assert path.is_socket()


async def test_a_missing_directory_is_told_with_the_address(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "sock"
    async with lab() as (network, _):
        with pytest.raises(HostError) as error:
            await add(network, unix_server("vm0", path))
        assert str(error.value) == f"Failed to bind socket to '{path}': No such file or directory"


@pytest.mark.parametrize("is_server", [True, False])
async def test_a_path_of_108_bytes_is_too_long(is_server: bool) -> None:
    path = "/tmp/" + "x" * 103
    options = StreamOptions(id="vm0", server=is_server, addr=UnixAddr(path=path))
    async with lab() as (network, fake):
        with pytest.raises(OptionError, match=r"^UNIX socket path '.*' is too long: .* less than 108 bytes$"):
            await add(network, options)
        assert fake.requests == []


@pytest.mark.parametrize("tight", [True, False])
async def test_an_abstract_name_joins_server_and_client(tight: bool) -> None:
    addr = UnixAddr(path=f"wirebay-test-{os.getpid()}-{tight}", abstract=True, tight=tight)
    async with lab() as (network, fake):
        await add(network, server(addr))
        async with lab() as (other, other_fake):
            await add(other, client(addr))
            with await attached(fake) as ours, await attached(other_fake) as theirs:
                theirs.send(b"hello")
                assert ours.recv(10) == b"hello"


async def test_an_inet_server_tells_the_port_it_got() -> None:
    async with lab() as (network, fake):
        port = await add(network, server(LOOPBACK))
        assert port_of(port) > 0
        with socket.create_connection(("127.0.0.1", port_of(port))) as peer, await attached(fake) as theirs:
            peer.send(b"frame")
            await asyncio.get_running_loop().sock_recv(theirs, 10)
            assert theirs.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            await network.stats()  # comes back after the reply to stream_attach
            assert port.state == f"tcp:127.0.0.1:{peer.getsockname()[1]}"


async def test_a_port_in_use_is_told_and_to_tries_the_next() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        addr = InetAddr(host="127.0.0.1", port=str(number))
        async with lab() as (network, _):
            with pytest.raises(HostError) as error:
                await add(network, server(addr))
            sentence = f"Failed to bind socket to '127.0.0.1:{number}': Address already in use"
            assert str(error.value) == sentence
            port = await add(network, server(InetAddr(host="127.0.0.1", port=str(number), to=65535)))
            assert port_of(port) > number


async def test_a_host_without_an_address_is_told() -> None:
    async with lab() as (network, _):
        with pytest.raises(HostError, match=r"^address resolution failed for not-a-number:1: "):
            await add(network, server(InetAddr(host="not-a-number", port="1", numeric=True)))


async def test_ipv6_alone_or_both_off() -> None:
    async with lab() as (network, _):
        with pytest.raises(HostError, match=r"address resolution failed for 127.0.0.1:0"):
            await add(network, server(InetAddr(host="127.0.0.1", port="0", ipv6=True)))
        with pytest.raises(OptionError, match="Cannot disable IPv4 and IPv6 at same time"):
            await add(network, server(InetAddr(host="127.0.0.1", port="0", ipv4=False, ipv6=False)))


async def test_a_client_that_cannot_connect_logs_and_stays(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with lab() as (network, _):
        port = await add(network, client(UnixAddr(path=str(tmp_path / "none"))))
        await until(lambda: port.state == "closed")
        assert f"Failed to connect to '{tmp_path}/none': No such file or directory" in caplog.text
        assert "vm0" in network.ports


async def test_a_client_tries_until_the_server_is_there_and_again_when_it_went(tmp_path: Path) -> None:
    path = tmp_path / "sock"
    async with lab() as (network, fake):
        await add(network, client(UnixAddr(path=str(path)), reconnect_ms=1))
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            listener.listen()
            (await attached(fake)).close()
            fake.send({"event": "stream_closed", "port": "vm0", "reason": "gone"})
            (await attached(fake, 2)).close()


async def test_a_client_connects_over_tcp() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        addr = InetAddr(host="127.0.0.1", port=str(listener.getsockname()[1]), keep_alive=True)
        async with lab() as (network, fake):
            await add(network, client(addr))
            with await attached(fake) as ours:
                assert ours.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
                assert ours.getpeername() == listener.getsockname()


async def test_a_full_backlog_is_no_connection(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "sock"
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as first:
        listener.bind(str(path))
        listener.listen(0)
        first.connect(str(path))
        async with lab() as (network, fake):
            port = await add(network, client(UnixAddr(path=str(path))))
            await until(lambda: port.state == "closed")
            assert fake.sent("stream_attach") == []
            assert "Failed to connect to" in caplog.text


async def test_an_inherited_socket_is_taken_over() -> None:
    ours, theirs = socket.socketpair()
    number = theirs.detach()
    async with lab() as (network, fake):
        await add(network, client(FdAddr(fd=str(number))))
        with ours, await attached(fake) as worker_end:
            ours.send(b"frame")
            assert worker_end.recv(10) == b"frame"
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(number)


async def test_an_inherited_listener_accepts(tmp_path: Path) -> None:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "sock"))
    async with lab() as (network, fake):
        await add(network, server(FdAddr(fd=str(listener.detach()))))
        with dial(tmp_path / "sock"):
            await fake.asked("stream_attach")


@pytest.mark.parametrize("text", ["99999", "net0", ""])
async def test_a_descriptor_that_is_no_socket_is_told(text: str) -> None:
    async with lab() as (network, _):
        with pytest.raises(HostError) as error:
            await add(network, client(FdAddr(fd=text)))
        assert str(error.value) == f"File descriptor '{text}' is not a socket"


async def test_a_datagram_socket_is_refused_and_left_open() -> None:
    async with lab() as (network, _):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagrams:
            with pytest.raises(HostError, match="is not a stream socket"):
                await add(network, client(FdAddr(fd=str(datagrams.fileno()))))
            os.fstat(datagrams.fileno())


async def test_nothing_of_a_closed_port_is_left(tmp_path: Path) -> None:
    before = open_descriptors()
    async with lab() as (network, fake):
        port = await add(network, unix_server("vm0", tmp_path / "sock"))
        with dial(tmp_path / "sock"), dial(tmp_path / "sock"):
            await fake.asked("stream_attach")
            await port.close()
        assert fake.requests[-1] == {"cmd": "port_remove", "port": "vm0"}
        assert not (tmp_path / "sock").exists()
    assert open_descriptors() == before


async def test_a_peer_that_leaves_at_once_is_told_to_have_come_first(tmp_path: Path) -> None:
    async with lab() as (network, fake):
        seen: list[str] = []
        network.watch(lambda name, _: seen.append(name))
        await add(network, unix_server("vm0", tmp_path / "sock"))

        def answer_and_leave(_: Request) -> dict[str, Any]:
            left = {"event": "stream_closed", "port": "vm0", "reason": "it left"}
            asyncio.get_running_loop().call_soon(fake.send, left)  # read together with the answer
            return {"ok": {}}

        fake.answers["stream_attach"] = answer_and_leave
        with dial(tmp_path / "sock"):
            await until(lambda: len(seen) == 2)
        assert seen == ["NETDEV_STREAM_CONNECTED", "NETDEV_STREAM_DISCONNECTED"]


async def test_a_peer_that_connects_in_a_loop_is_slowed_down_and_told_of_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("wirebay.ports.peers.BURST", 3)
    monkeypatch.setattr("wirebay.ports.peers.RATE", 50)
    started = time.monotonic()
    async with lab() as (network, fake):
        await add(network, unix_server("vm0", tmp_path / "sock"))
        for number in range(1, 9):
            with dial(tmp_path / "sock"):
                await fake.asked("stream_attach", number)
                fake.send(
                    {"event": "stream_closed", "port": "vm0", "reason": "the peer closed the connection"}
                )
    assert time.monotonic() - started >= 4 / 50
    sentence = "stream port 'vm0': peers come and go too fast; 50 a second are taken"
    assert caplog.messages.count(sentence) == 1
