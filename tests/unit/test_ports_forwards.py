"""The sockets of hostfwd: every kind of rule, opened for real on the loopback interface."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from tests.unit.fake_worker import FakeWorker, done, refusal
from tests.unit.lab import PLAN4, lab, open_descriptors, user
from wirebay.errors import HostError, OptionError
from wirebay.network import Network
from wirebay.options.hostfwd import parse_hostfwd
from wirebay.options.types import DhcpHost
from wirebay.ports.forwards import describe_forward, endpoint_text, open_forward
from wirebay.ports.user import UserPort
from wirebay.services.dhcp_message import DhcpMessage, encode

pytestmark = pytest.mark.anyio


async def user_port(network: Network) -> UserPort:
    port = await network.add(user())
    assert isinstance(port, UserPort)
    return port


def handed_over(fake: FakeWorker) -> list[socket.socket]:
    """The sockets that came with all forwards."""
    return [socket.socket(fileno=os.dup(fake.fds_of(request)[0])) for request in fake.sent("forward_add")]


def free_ports(count: int) -> int:
    """The first of `count` ports in a row that were free a moment ago."""
    for first in range(20000 + os.getpid() % 20000, 65000, count):
        probes = [socket.socket() for _ in range(count)]
        try:
            for number, probe in enumerate(probes):
                probe.bind(("127.0.0.1", first + number))
        except OSError:
            continue
        finally:
            for probe in probes:
                probe.close()
        return first
    raise AssertionError


@pytest.mark.parametrize("proto", ["tcp", "udp"])
async def test_a_rule_listens_on_an_ipv6_address(proto: str) -> None:
    async with lab() as (network, fake):
        port = await user_port(network)
        rule = await port.add_forward(f"{proto}:[::1]:0-[fec0::15]:80")
        (request,) = fake.sent("forward_add")
        assert (request["proto"], request["guest"]) == (proto, "fec0::15")
        (sock,) = handed_over(fake)
        with sock:
            assert sock.getsockname()[:2] == ("::1", rule.host_port)
            assert sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 1
        assert endpoint_text(rule) == f"{proto}:[::1]:{rule.host_port}"
        await port.remove_forward(f"{proto}:[::1]:{rule.host_port}")


async def test_a_range_opens_every_port_and_keeps_the_order_of_the_guests() -> None:
    async with lab() as (network, fake):
        port = await user_port(network)
        first = free_ports(3)
        rule = await port.add_forward(f"tcp:127.0.0.1:{first}..{first + 2}-:9000")
        requests = fake.sent("forward_add")
        assert [request["guest_port"] for request in requests] == [9000, 9001, 9002]
        assert len({request["forward"] for request in requests}) == 3
        for number, sock in enumerate(handed_over(fake)):
            with sock:
                assert sock.getsockname()[1] == first + number
        assert describe_forward(rule) == f"tcp:127.0.0.1:{first}..{first + 2} to 10.0.2.15:9000..9002"
        await port.remove_forward(f"tcp:127.0.0.1:{first}..{first + 2}")
        assert len(fake.sent("forward_remove")) == 3


async def test_a_range_with_a_taken_port_opens_none() -> None:
    first = free_ports(3)
    before = open_descriptors()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", first + 1))
        taken.listen()
        text = f"tcp:127.0.0.1:{first}..{first + 2}-:9000"
        with pytest.raises(HostError) as error:
            await open_forward(parse_hostfwd(text))
        reason = f"port {first + 1}: Address already in use"
        assert str(error.value) == f"Could not set up host forwarding rule '{text}': {reason}"
    assert open_descriptors() == before


async def test_a_range_of_which_the_worker_refuses_one_is_taken_back() -> None:
    async with lab() as (network, fake):
        port = await user_port(network)
        first = free_ports(2)
        answers = [done, refusal("option", "no")]
        fake.answers["forward_add"] = lambda request: answers.pop(0)(request)
        with pytest.raises(OptionError, match="no"):
            await port.add_forward(f"tcp:127.0.0.1:{first}..{first + 1}-:9000")
        (added, _), (removed,) = fake.sent("forward_add"), fake.sent("forward_remove")
        assert removed["forward"] == added["forward"]
        assert port.forwards == ()


async def test_names_are_resolved_when_the_port_opens_to_the_family_of_the_guest() -> None:
    async with lab() as (network, fake):
        port = await user_port(network)
        rule = await port.add_forward("tcp:localhost:0-:80")
        assert endpoint_text(rule) == f"tcp:127.0.0.1:{rule.host_port}"
        await port.add_forward("tcp:127.0.0.1:0-localhost:80")
        assert fake.sent("forward_add")[1]["guest"] == "127.0.0.1"


async def test_a_name_without_address_is_told() -> None:
    text = "tcp:name.invalid:80-:80"
    with pytest.raises(HostError) as error:
        await open_forward(parse_hostfwd(text))
    reason = "the name 'name.invalid' has no address"
    assert str(error.value) == f"Could not set up host forwarding rule '{text}': {reason}"


async def test_a_rule_is_bound_to_its_interface() -> None:
    async with lab() as (network, fake):
        port = await user_port(network)
        rule = await port.add_forward("udp:%lo:0-:80")
        (sock,) = handed_over(fake)
        with sock:
            name = sock.getsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, 16)
            assert name.rstrip(b"\0") == b"lo"
        assert endpoint_text(rule) == f"udp:0.0.0.0%lo:{rule.host_port}"
        await port.remove_forward(f"udp:%lo:{rule.host_port}")


async def test_an_interface_that_is_not_there_is_told() -> None:
    for text in ("tcp:%nowhere0:0-:80", "tcp:[fe80::1%nowhere0]:0-:80"):
        with pytest.raises(HostError) as error:
            await open_forward(parse_hostfwd(text))
        assert str(error.value) == f"Could not set up host forwarding rule '{text}': No such device"


async def test_a_unix_socket_listens_and_is_gone_with_its_forward(tmp_path: Path) -> None:
    path = tmp_path / "a-b"
    async with lab() as (network, fake):
        port = await user_port(network)
        rule = await port.add_forward(f"unix:{path}-:22")
        (request,) = fake.sent("forward_add")
        assert (request["proto"], request["guest_port"]) == ("tcp", 22)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
        assert describe_forward(rule) == f"unix:{path} to 10.0.2.15:22"
        await port.remove_forward(f"unix:{path}")
        assert not path.exists()


async def test_a_unix_socket_is_gone_with_its_network(tmp_path: Path) -> None:
    path = tmp_path / "sock"
    async with lab() as (network, _):
        await (await user_port(network)).add_forward(f"unix:{path}-:22")
        assert path.is_socket()
    assert not path.exists()


async def test_a_socket_whose_server_is_gone_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "sock"
    with socket.socket(socket.AF_UNIX) as old:
        old.bind(str(path))
        old.listen()
    forward = await open_forward(parse_hostfwd(f"unix:{path}-:22"))
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    forward.close()
    forward.undo()
    assert not path.exists()


async def test_a_socket_that_is_served_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "sock"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        with pytest.raises(HostError, match="Address already in use"):
            await open_forward(parse_hostfwd(f"unix:{path}-:22"))
        assert path.is_socket()


async def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("precious")
    text = f"unix:{path}-:22"
    with pytest.raises(HostError) as error:
        await open_forward(parse_hostfwd(text))
    reason = "file exists and it's not unix socket"
    assert str(error.value) == f"Invalid host forwarding rule '{text}' ({reason})"
    assert path.read_text() == "precious"


async def test_a_directory_that_is_not_there_is_told(tmp_path: Path) -> None:
    text = f"unix:{tmp_path}/no/sock-:22"
    with pytest.raises(HostError) as error:
        await open_forward(parse_hostfwd(text))
    reason = "No such file or directory"
    assert str(error.value) == f"Could not set up host forwarding rule '{text}': {reason}"


async def test_a_unix_socket_that_the_worker_refuses_leaves_no_file(tmp_path: Path) -> None:
    async with lab() as (network, fake):
        port = await user_port(network)
        fake.answers["forward_add"] = refusal("option", "no")
        with pytest.raises(OptionError):
            await port.add_forward(f"unix:{tmp_path}/sock-:22")
    assert not (tmp_path / "sock").exists()


async def test_a_rule_with_the_proxy_protocol_is_marked(tmp_path: Path) -> None:
    forward = await open_forward(parse_hostfwd("tcp:127.0.0.1:0-:80+proxy-in"))
    assert forward.is_proxied
    forward.close()
    await asyncio.sleep(0)


async def test_a_guest_may_be_named_by_the_name_set_aside_for_it() -> None:
    host = DhcpHost(mac=bytes((0x52, 0x54, 0, 0, 0, 1)), address=IPv4Address("10.0.2.50"), name="web")
    async with lab() as (network, fake):
        port = await network.add(replace(user(), dhcp_hosts=(host,)))
        assert isinstance(port, UserPort)
        await port.add_forward("tcp:127.0.0.1:0-Web:80")
        assert fake.sent("forward_add")[0]["guest"] == "10.0.2.50"


def lease(port: UserPort, *numbers: int) -> None:
    """Give each of these guests an address."""
    server = port.addresses.dhcp
    assert server
    for number in numbers:
        mac = bytes((0x52, 0x54, 0, 0, 0, number))
        server.handle(
            encode(DhcpMessage(op=1, xid=1, chaddr=mac, options={53: b"\3"})), mac, time.monotonic()
        )


async def test_a_rule_without_guest_is_for_the_only_one_and_refused_where_there_are_several() -> None:
    async with lab() as (network, fake):
        port = await network.add(replace(user(), ipv4=replace(PLAN4, dhcpstart=IPv4Address("10.0.2.20"))))
        assert isinstance(port, UserPort)
        await port.add_forward("tcp:127.0.0.1:0-:80")
        lease(port, 1)
        await port.add_forward("tcp:127.0.0.1:0-:80")
        assert [request["guest"] for request in fake.sent("forward_add")] == ["10.0.2.20", "10.0.2.20"]
        lease(port, 2)
        with pytest.raises(OptionError) as error:
            await port.add_forward("tcp:127.0.0.1:0-:81")
        reason = "Missing guest address: there are 10.0.2.20, 10.0.2.21"
        assert str(error.value) == f"Invalid host forwarding rule 'tcp:127.0.0.1:0-:81' ({reason})"
        await port.add_forward("tcp:127.0.0.1:0-10.0.2.21:80")
