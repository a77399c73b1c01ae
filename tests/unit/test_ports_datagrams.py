"""Ports on datagram sockets: what the worker is asked for, and what stays behind."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from tests.unit.fake_worker import FakeWorker, refusal
from tests.unit.lab import lab, open_descriptors
from wirebay.errors import HostError, OptionError
from wirebay.ports import dgram_sockets

pytestmark = pytest.mark.anyio


def inet(host: str, port: int) -> dict[str, object]:
    return {"type": "inet", "host": host, "port": port}


def attached(fake: FakeWorker) -> tuple[object, list[socket.socket]]:
    """Where frames go, and the sockets."""
    (request,) = fake.sent("dgram_attach")
    return request["to"], [socket.socket(fileno=os.dup(fd)) for fd in fake.fds_of(request)]


def framing(fake: FakeWorker) -> object:
    (request,) = fake.sent("dgram_add")
    return request["framing"]


async def test_a_udp_socket_is_connected_to_its_peer() -> None:
    async with lab() as (network, fake):
        port = await network.add("dgram", id="n", local=inet("127.0.0.1", 0), remote=inet("127.0.0.1", 9))
        to, (sock,) = attached(fake)
        with sock:
            assert (framing(fake), to) == ("plain", "peer")
            assert sock.getpeername() == ("127.0.0.1", 9)
            assert port.describe() == f"n: dgram udp=127.0.0.1:{sock.getsockname()[1]}/127.0.0.1:9"
            assert not sock.getblocking() or not os.get_blocking(sock.fileno())


async def test_ipv6_is_ours() -> None:
    async with lab() as (network, fake):
        await network.add("dgram", id="n", local=inet("::1", 0), remote=inet("::1", 9))
        _, (sock,) = attached(fake)
        with sock:
            assert sock.getpeername()[:2] == ("::1", 9)


async def test_families_must_fit() -> None:
    async with lab() as (network, _):
        with pytest.raises(HostError, match="it has no IPv6 address"):
            await network.add("dgram", id="n", local=inet("127.0.0.1", 0), remote=inet("::1", 9))


async def test_a_group_gets_a_second_socket_to_send_with() -> None:
    async with lab() as (network, fake):
        group = inet("230.77.5.2", 4747)
        await network.add("dgram", id="n", local=inet("127.0.0.1", 0), remote=group)
        to, (receiver, sender) = attached(fake)
        with receiver, sender:
            assert to == "peer"
            assert receiver.getsockname()[1] == sender.getpeername()[1] == 4747
            assert sender.getsockname()[1] != 4747


async def test_unix_paths_need_no_peer_and_go_with_the_port(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    before = open_descriptors()
    async with lab() as (network, fake):
        port = await network.add(
            "dgram", id="n", local={"type": "unix", "path": ours}, remote={"type": "unix", "path": theirs}
        )
        to, (sock,) = attached(fake)
        sock.close()
        assert to == {"unix": str(theirs)}
        assert ours.is_socket()
        await port.close()
        assert not ours.exists()
    assert open_descriptors() == before


async def test_what_the_worker_refuses_is_undone(tmp_path: Path) -> None:
    ours = tmp_path / "ours"
    async with lab() as (network, fake):
        before = open_descriptors()
        fake.answers["dgram_attach"] = refusal("host", "no room")
        with pytest.raises(HostError, match="no room"):
            await network.add("vfkit", id="n", path=ours)
        fake.drop_fds()
        assert open_descriptors() == before
        assert not ours.exists()


async def test_a_path_too_long_is_refused_before_anything_is_opened() -> None:
    async with lab() as (network, fake):
        with pytest.raises(OptionError, match="is too long"):
            await network.add("vfkit", id="n", path="/" + "x" * 107)
        assert not fake.sent("dgram_add")


async def test_a_path_that_is_no_text_is_refused(tmp_path: Path) -> None:
    local = {"type": "unix", "path": tmp_path / "ours"}
    async with lab() as (network, _):
        with pytest.raises(OptionError, match="the worker takes text only"):
            await network.add("dgram", id="n", local=local, remote={"type": "unix", "path": "/x\udcff"})
    assert not (tmp_path / "ours").exists()


async def test_a_tunnel_is_described_to_the_worker() -> None:
    async with lab() as (network, fake):
        port = await network.add(
            "l2tpv3", id="n", src="127.0.0.1", dst="127.0.0.1", udp=True, srcport="0", dstport="9",
            txsession=1, rxsession=2, rxcookie=3, txcookie=4, counter=True, offset=5,
        )  # fmt: skip
        to, (sock,) = attached(fake)
        here = sock.getsockname()[1]
        sock.close()
        assert to == "peer"
        assert framing(fake) == {
            "l2tpv3": {
                "udp": True, "ip_header": False, "tx_session": 1, "rx_session": 2, "tx_cookie": 4,
                "rx_cookie": 3, "cookie64": False, "counter": True, "pin_counter": False, "offset": 5,
            }
        }  # fmt: skip
        assert port.describe() == f"n: l2tpv3 over udp from 127.0.0.1:{here} to 127.0.0.1:9"


@pytest.mark.parametrize(
    ("option", "sentence"),
    [("src", "could not resolve src, error = "), ("dst", "could not resolve dst, error = ")],
)
async def test_a_name_without_address_is_said_in_qemus_words(option: str, sentence: str) -> None:
    async with lab() as (network, _):
        addresses = {"src": "127.0.0.1", "dst": "127.0.0.1", option: "nobody.invalid"}
        with pytest.raises(HostError, match=sentence):
            await network.add("l2tpv3", id="n", txsession=1, udp=True, srcport="0", dstport="9", **addresses)


async def test_a_raw_tunnel_without_the_right_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> socket.socket:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(dgram_sockets, "new_dgram", refuse)
    async with lab() as (network, _):
        with pytest.raises(HostError, match="takes a raw socket, and so root or CAP_NET_RAW; use udp=on"):
            await network.add("l2tpv3", id="n", src="127.0.0.1", dst="127.0.0.1", txsession=1)


async def test_the_hosts_of_a_segment_are_its_peers() -> None:
    async with lab() as (network, fake):
        remotes = ["127.0.0.2", "127.0.0.3:99"]
        port = await network.add("vxlan", id="n", vni=7, remote=remotes, local="127.0.0.1", port=0)
        to, (sock,) = attached(fake)
        here = sock.getsockname()[1]
        sock.close()
        assert to == {"inet": ["127.0.0.2:4789", "127.0.0.3:99"]}
        assert framing(fake) == {"vxlan": {"vni": 7}}
        text = f"n: vxlan 7 at 127.0.0.1:{here} with 127.0.0.2:4789, 127.0.0.3:99"
        assert port.describe() == text


async def test_an_inherited_socket_bound_to_a_group_is_in_that_group() -> None:
    async with lab() as (network, fake):
        with socket.socket(type=socket.SOCK_DGRAM) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(("230.77.5.2", 0))
            number = sock.getsockname()[1]
            await network.add("socket", id="n", fd=str(sock.detach()))
        to, (receiver, sender) = attached(fake)
        with receiver, sender:
            assert to == "peer"
            assert sender.getpeername() == ("230.77.5.2", number)


async def test_socket_is_the_one_or_the_other() -> None:
    async with lab() as (network, fake):
        listening = await network.add("socket", id="a", listen="127.0.0.1:0")
        heard = await network.add("socket", id="b", udp="127.0.0.1:9", localaddr="127.0.0.1:0")
        assert (listening.kind, heard.kind) == ("socket", "socket")
        assert [request["cmd"] for request in fake.requests][:3] == [
            "stream_add",
            "dgram_add",
            "dgram_attach",
        ]
        with pytest.raises(HostError, match="can't get socket option SO_TYPE"):
            await network.add("socket", id="c", fd="999")
