"""vfkit, bess, stdio and hostile datagrams, through the real worker."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.wire.frames import beside, datagram, drops, frame
from tests.wire.guest import PATIENCE, Guest
from tests.wire.packets import BROADCAST
from tests.wire.test_serve import serving
from wirebay.errors import HostError
from wirebay.network import Network

pytestmark = pytest.mark.anyio


def unixgram(path: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sock.bind(str(path))
    return sock


@pytest.fixture
async def vfkit(network: Network, tmp_path: Path) -> AsyncIterator[tuple[Path, Guest]]:
    """A vfkit port's path, and the card behind it."""
    path = tmp_path / "vfkit"
    port = await network.add("vfkit", id="n", path=path)
    guest = await beside(network, port)
    with guest:
        yield path, guest


async def test_a_vm_on_a_unix_datagram_socket_is_answered_where_it_is(
    vfkit: tuple[Path, Guest], tmp_path: Path
) -> None:
    path, guest = vfkit
    with unixgram(tmp_path / "vm") as vm:
        vm.connect(str(path))
        vm.send(b"VFKT")
        vm.send(frame(1))
        assert await guest.receive() == frame(1)
        await guest.send(frame(2))
        assert await datagram(vm) == frame(2)
    with unixgram(tmp_path / "again") as vm:  # a newer one, which says nothing before its first frame
        vm.connect(str(path))
        vm.send(frame(3, 9014))
        assert await guest.receive() == frame(3, 9014)
        await guest.send(frame(4))
        assert await datagram(vm) == frame(4)


async def test_frames_for_a_vm_that_is_not_there_yet_are_dropped_by_name(
    network: Network, vfkit: tuple[Path, Guest]
) -> None:
    _, guest = vfkit
    await guest.send(frame(1))
    while not (counted := await drops(network, "n")):
        pass
    assert counted == {"peer_unknown": 1}


async def test_a_flood_of_garbage_costs_its_own_port_drops_and_nothing_else(
    network: Network, vfkit: tuple[Path, Guest], tmp_path: Path
) -> None:
    path, guest = vfkit
    with unixgram(tmp_path / "vm") as vm:
        vm.connect(str(path))
        garbage = [bytes(size) for size in (0, 1, 13, 69633, 70000)] * 100
        await asyncio.to_thread(lambda: [vm.send(message) for message in (*garbage, frame(1))])
        assert await guest.receive() == frame(1)
    counted = await drops(network, "n")
    assert counted == {"frame_too_short": 300, "frame_too_long": 200}


async def test_the_socket_goes_with_the_port(network: Network, tmp_path: Path) -> None:
    path = tmp_path / "vfkit"
    with unixgram(path):
        pass  # left behind by somebody
    port = await network.add("vfkit", id="n", path=path)
    assert path.is_socket()
    await port.close()
    assert not path.exists()


async def test_what_is_no_socket_is_not_replaced(network: Network, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    with pytest.raises(HostError, match="the path exists and is not a socket"):
        await network.add("vfkit", id="n", path=path)
    assert path.is_file()


def packets(path: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    sock.connect(str(path))
    return sock


async def test_packets_in_sequence_are_frames_for_one_peer_after_the_other(
    network: Network, tmp_path: Path
) -> None:
    path = tmp_path / "bess"
    port = await network.add("bess", id="n", path=path, server=True)
    with await beside(network, port) as guest:
        for number in range(3):
            with packets(path) as peer:
                peer.send(frame(number, 9014))
                assert await guest.receive() == frame(number, 9014)
                await guest.send(frame(number + 100))
                assert await datagram(peer) == frame(number + 100)


async def test_a_bess_client_connects_again(network: Network, tmp_path: Path) -> None:
    path = tmp_path / "bess"
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(path))
        listener.listen()
        listener.setblocking(False)
        port = await network.add("bess", id="n", path=path, reconnect_ms=1)
        with await beside(network, port) as guest:
            for number in range(2):
                peer, _ = await asyncio.wait_for(loop.sock_accept(listener), PATIENCE)
                with peer:
                    peer.send(frame(number))
                    assert await guest.receive() == frame(number)


@pytest.mark.parametrize(("framing", "length"), [("qemu", ">I"), ("vpnkit", "<H")])
def test_a_process_on_two_pipes_reaches_the_network_and_ends_it(framing: str, length: str) -> None:
    netdevs = (f"stdio,id=n,framing={framing}", "user,id=u0")
    with serving(*netdevs, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        request = arp_request()
        os.write(process.stdin.fileno(), struct.pack(length, len(request)) + request)
        answer = b""
        while len(answer) < struct.calcsize(length) + 60:
            answer += os.read(process.stdout.fileno(), 1000)
        (size,) = struct.unpack_from(length, answer)
        reply = answer[-size:]
        assert reply[12:14] == b"\x08\x06"
        assert reply[28:32] == socket.inet_aton("10.0.2.2")
        process.stdin.close()
        assert process.wait(PATIENCE) == 0


def arp_request() -> bytes:
    mac = bytes((2, 0, 0, 0, 0, 1))
    question = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + mac + socket.inet_aton("10.0.2.15")
    return BROADCAST + mac + b"\x08\x06" + question + bytes(6) + socket.inet_aton("10.0.2.2")


async def test_a_udp_port_hears_its_peer_alone(network: Network) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as peer, socket.socket(type=socket.SOCK_DGRAM) as stranger:
        peer.bind(("127.0.0.1", 0))
        remote = {"type": "inet", "host": "127.0.0.1", "port": peer.getsockname()[1]}
        local = {"type": "inet", "host": "127.0.0.1", "port": 0}
        port = await network.add("dgram", id="n", local=local, remote=remote)
        with await beside(network, port) as guest:
            await guest.send(frame(1))
            data, here = await asyncio.get_running_loop().run_in_executor(None, peer.recvfrom, 2000)
            assert data == frame(1)
            stranger.sendto(frame(2), here)
            peer.sendto(frame(3), here)
            assert await guest.receive() == frame(3)


async def test_a_local_address_that_cannot_be_had_is_said_in_qemus_words(network: Network) -> None:
    remote = {"type": "inet", "host": "127.0.0.1", "port": 9}
    local = {"type": "inet", "host": "192.0.2.1", "port": 0}
    with pytest.raises(
        HostError, match=r"can't bind ip=192\.0\.2\.1 to socket: Cannot assign requested address"
    ):
        await network.add("dgram", id="n", local=local, remote=remote)
    with socket.socket(type=socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        local = {"type": "inet", "host": "127.0.0.1", "port": taken.getsockname()[1]}
        with pytest.raises(HostError, match=r"can't bind ip=127\.0\.0\.1 to socket: Address already in use"):
            await network.add("dgram", id="n", local=local, remote=remote)


@pytest.mark.parametrize("make", ["pipe", "unconnected"])
async def test_a_descriptor_that_is_no_datagram_socket_with_a_peer_is_refused(
    network: Network, make: str
) -> None:
    fds = list(os.pipe()) if make == "pipe" else [socket.socket(type=socket.SOCK_DGRAM).detach()]
    with pytest.raises(HostError, match=r"SO_TYPE|is not connected"):
        await network.add("dgram", id="n", local={"type": "fd", "str": fds[0]})
    for fd in fds:
        os.close(fd)
