"""User networks: what the worker is told, the services, and the sockets of hostfwd."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import struct
from dataclasses import replace
from ipaddress import IPv4Address, ip_address
from typing import Literal

import pytest

from tests.unit.fake_worker import FakeWorker, refusal
from tests.unit.lab import lab, open_descriptors, until, user
from wirebay.errors import HostError, OptionError
from wirebay.network import Network
from wirebay.options.types import HostForward, UserOptions
from wirebay.ports.user import UserPort

pytestmark = pytest.mark.anyio

LOCALHOST = IPv4Address("127.0.0.1")


def forward(proto: Literal["tcp", "udp"] = "tcp", port: int = 0, guest: str | None = None) -> HostForward:
    text = f"{proto}:127.0.0.1:{port}-{guest or ''}:22"
    guest_addr = IPv4Address(guest) if guest else None
    return HostForward(
        proto=proto, host_addr=LOCALHOST, host_port=port, guest_addr=guest_addr, guest_port=22, text=text
    )


async def add(network: Network, options: UserOptions) -> UserPort:
    port = await network.add(options)
    assert isinstance(port, UserPort)
    return port


def socket_of(fake: FakeWorker) -> socket.socket:
    """The socket that came with the last forward."""
    (fd,) = fake.fds_of(fake.sent("forward_add")[-1])
    return socket.socket(fileno=os.dup(fd))


async def test_the_worker_is_told_the_options() -> None:
    async with lab() as (network, fake):
        await add(
            network,
            replace(
                user(), restrict=True, mtu=9000, host_loopback=False, dnssearch=("a.example", "b.example")
            ),
        )
        assert fake.sent("user_add") == [
            {
                "cmd": "user_add",
                "port": "u0",
                "mtu": 9000,
                "restrict": True,
                "host_loopback": False,
                "ipv4": {"net": "10.0.2.0", "prefix": 24, "host": "10.0.2.2", "dns": "10.0.2.3"},
                "ipv6": {"net": "fec0::", "prefix": 64, "host": "fec0::2", "dns": "fec0::3"},
                "dnssl": ["a.example", "b.example"],
            }
        ]


@pytest.mark.parametrize(
    ("options", "there", "told"),
    [
        (user(), {4, 6}, []),
        (user(), {4}, ["IPv6"]),
        (user(), set(), ["IPv4", "IPv6"]),
        (replace(user(), ipv6=None), {4}, []),
        (replace(user(), restrict=True), set(), []),
    ],
)
async def test_a_family_that_ends_at_this_host_is_told_once(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    options: UserOptions,
    there: set[int],
    told: list[str],
) -> None:
    caplog.set_level(logging.INFO, "wirebay")
    monkeypatch.setattr("wirebay.ports.user.has_way", there.__contains__)
    async with lab() as (network, _):
        await add(network, options)
    assert caplog.messages == [
        f"user network 'u0': this host has no way out over {family}, and so its guests have none"
        for family in told
    ]


async def test_the_worker_is_told_which_family_is_off_and_the_domain_where_no_search_is_given() -> None:
    async with lab() as (network, fake):
        await add(network, replace(user(), ipv6=None, domainname="example.org"))
        await add(network, replace(user("u1"), ipv4=None))
        first, second = fake.sent("user_add")
        assert (first["ipv6"], first["dnssl"]) == (None, ["example.org"])
        assert (second["ipv4"], second["dnssl"]) == (None, [])


async def test_the_hosts_resolvers_are_known_before_the_port_is_open() -> None:
    async with lab() as (network, fake):
        await add(network, user())
        request = fake.sent("user_resolvers")[0]
        assert request["port"] == "u0"
        assert all(ip_address(server) for server in request["servers"])


async def test_what_dhcp_drops_stands_beside_the_drops_of_the_worker() -> None:
    async with lab() as (network, fake):
        fake.answers["stats"] = lambda _: {"ok": {"ports": {"u0": {"drops": {"restricted": 2}}, "gone": {}}}}
        port = await add(network, user())
        with socket.socket(fileno=os.dup(fake.fds_of(fake.sent("user_add")[0])[0])) as channel:
            channel.send(bytes(6 + 16 + 16) + struct.pack("!HH", 68, 67) + b"nonsense")
            await until(lambda: bool(port.service_drops()))
        assert (await network.stats())["ports"]["u0"]["drops"] == {"restricted": 2, "dhcp_malformed": 1}


async def test_dhcp_answers_over_the_service_channel() -> None:
    mac = bytes.fromhex("525400123456")
    mapped = bytes(10) + b"\xff\xff"
    header = struct.pack("!6s16s16sHH", mac, mapped + bytes(4), mapped + b"\xff" * 4, 68, 67)
    discover = (
        struct.pack("!BBBBIHH16x16s192x4s", 1, 1, 6, 0, 7, 0, 0, mac, b"\x63\x82\x53\x63")
        + b"\x35\x01\x01\xff"
    )
    async with lab() as (network, fake):
        await add(network, user())
        with socket.socket(fileno=os.dup(fake.fds_of(fake.sent("user_add")[0])[0])) as channel:
            channel.setblocking(False)
            channel.send(header + discover)
            answer = await asyncio.get_running_loop().sock_recv(channel, 65536)
    assert struct.unpack("!HH", answer[38:42]) == (67, 68)
    assert answer[42 + 16 : 42 + 20] == bytes((10, 0, 2, 15))


async def test_a_tcp_forward_listens_before_the_worker_has_it() -> None:
    async with lab() as (network, fake):
        port = await add(network, user("u0", forward()))
        (request,) = fake.sent("forward_add")
        (rule,) = port.forwards
        assert rule.host_port > 0
        assert (request["proto"], request["guest"], request["guest_port"]) == ("tcp", "10.0.2.15", 22)
        with socket_of(fake) as listener, socket.create_connection(("127.0.0.1", rule.host_port)):
            assert not os.get_blocking(listener.fileno())
            listener.accept()[0].close()


async def test_a_udp_forward_is_bound() -> None:
    async with lab() as (network, fake):
        port = await add(network, user("u0", forward("udp", guest="10.0.2.99")))
        (request,) = fake.sent("forward_add")
        assert (request["proto"], request["guest"]) == ("udp", "10.0.2.99")
        with socket_of(fake) as bound, socket.socket(type=socket.SOCK_DGRAM) as sender:
            sender.sendto(b"hello", ("127.0.0.1", port.forwards[0].host_port))
            assert bound.recv(10) == b"hello"


async def test_forwards_have_names_of_their_own() -> None:
    async with lab() as (network, fake):
        await add(network, user("u0", forward(), forward("udp"), forward()))
        await add(network, user("u1", forward()))
        names = [request["forward"] for request in fake.sent("forward_add")]
        assert len(set(names)) == 4


async def test_the_port_tells_its_forwards() -> None:
    async with lab() as (network, _):
        port = await add(network, user("u0", forward()))
        number = port.forwards[0].host_port
        line = f"u0: user network 10.0.2.0/24 and fec0::/64, tcp:127.0.0.1:{number} to 10.0.2.15:22"
        assert port.describe() == line


@pytest.mark.parametrize("proto", ["tcp", "udp"])
async def test_an_address_in_use_is_told_and_the_port_is_not_added(proto: Literal["tcp", "udp"]) -> None:
    kind = socket.SOCK_STREAM if proto == "tcp" else socket.SOCK_DGRAM
    with socket.socket(type=kind) as taken:
        taken.bind(("127.0.0.1", 0))
        if proto == "tcp":
            taken.listen()
        rule = forward(proto, taken.getsockname()[1])
        async with lab() as (network, fake):
            with pytest.raises(HostError) as error:
                await add(network, user("u0", rule))
            sentence = f"Could not set up host forwarding rule '{rule.text}': Address already in use"
            assert str(error.value) == sentence
            assert network.ports == {}
            assert fake.sent("port_remove") == [{"cmd": "port_remove", "port": "u0"}]


async def test_an_address_of_another_host_is_told() -> None:
    rule = replace(forward(), host_addr=IPv4Address("192.0.2.1"), text="tcp:192.0.2.1:0-:22")
    async with lab() as (network, _):
        with pytest.raises(HostError, match=r"'tcp:192.0.2.1:0-:22': Cannot assign requested address"):
            await add(network, user("u0", rule))


async def test_forwards_come_and_go_while_the_network_runs() -> None:
    async with lab() as (network, fake):
        port = await add(network, user())
        added = await port.add_forward("tcp:127.0.0.1:0-:80")
        assert port.forwards == (added,)
        (name,) = [request["forward"] for request in fake.sent("forward_add")]
        await port.remove_forward(f"tcp:127.0.0.1:{added.host_port}")
        assert fake.sent("forward_remove") == [{"cmd": "forward_remove", "port": "u0", "forward": name}]
        assert not port.forwards


async def test_a_forward_is_found_by_rule_and_text() -> None:
    async with lab() as (network, fake):
        port = await add(network, user())
        first = await port.add_forward("tcp:127.0.0.1:0-:80")
        await port.remove_forward("tcp:127.0.0.1:0-:80")
        fake.drop_fds()
        second = await port.add_forward(first)
        assert second.host_port == first.host_port
        await port.remove_forward(second)
        with pytest.raises(OptionError, match=r"host forwarding rule ':127.0.0.1:9' is not open"):
            await port.remove_forward(":127.0.0.1:9")


async def test_a_forward_that_the_worker_refuses_is_closed() -> None:
    async with lab() as (network, fake):
        port = await add(network, user())
        fake.answers["forward_add"] = refusal("option", "no")
        with pytest.raises(OptionError):
            await port.add_forward("udp:127.0.0.1:0-:53")
        assert not port.forwards


async def test_nothing_of_a_closed_port_is_left() -> None:
    before = open_descriptors()
    async with lab() as (network, _):
        port = await add(network, user("u0", forward(), forward("udp")))
        await port.close()
    assert open_descriptors() == before


async def test_a_network_without_ipv4_leads_forwards_to_its_first_ipv6_address() -> None:
    async with lab() as (network, fake):
        port = await add(network, replace(user(), ipv4=None))
        await port.add_forward("tcp:127.0.0.1:0-:80")
        assert fake.sent("forward_add")[0]["guest"] == "fec0::15"
        with pytest.raises(OptionError) as error:
            await port.add_forward("tcp:127.0.0.1:0-10.0.2.15:80")
        rule = "tcp:127.0.0.1:0-10.0.2.15:80"
        assert str(error.value) == f"Invalid host forwarding rule '{rule}' (the network has no IPv4)"
