"""The services of a user network: what the worker is told of them, and that guests reach them."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from ipaddress import IPv4Address, ip_address
from pathlib import Path

import dns.message
import pytest

from tests.unit.fake_worker import FakeWorker, refusal
from tests.unit.lab import PLAN4, PLAN6, lab, open_descriptors, until, user
from wirebay.errors import HostError, OptionError
from wirebay.network import Network
from wirebay.options.guestfwd import parse_guestfwd
from wirebay.options.hostfwd import parse_hostfwd
from wirebay.options.types import GuestForward, UserOptions
from wirebay.ports.user import UserPort
from wirebay.services import smb
from wirebay.services.channel import Datagram, decode, encode

pytestmark = pytest.mark.anyio

SMB = IPv4Address("10.0.2.4")
GUEST, HOST, DNS = map(ip_address, ("10.0.2.15", "10.0.2.2", "10.0.2.3"))


class Rig:
    """An open user network on a fake worker, and the worker's end of its service channel."""

    def __init__(self, network: Network, fake: FakeWorker, port: UserPort, end: socket.socket) -> None:
        self.network, self.fake, self.port, self.end = network, fake, port, end

    @property
    def services(self) -> list[tuple[str, str, int]]:
        """Protocol, address and port of what the worker was told."""
        told = self.fake.sent("service_add")
        return sorted((one["proto"], one["addr"], one["service_port"]) for one in told)

    async def ask(self, to: object, port: int, payload: bytes) -> bytes:
        """Send a datagram of the guest; the answer's payload."""
        self.send(to, port, payload)
        loop = asyncio.get_running_loop()
        return decode(await asyncio.wait_for(loop.sock_recv(self.end, 65536), 10)).payload

    def send(self, to: object, port: int, payload: bytes) -> None:
        datagram = Datagram(
            mac=b"\2" * 6, source=GUEST, destination=ip_address(str(to)), source_port=4000,
            destination_port=port, payload=payload,
        )  # fmt: skip
        self.end.send(encode(datagram))

    async def connect(self, service: str) -> socket.socket:
        """Connect as a guest does; the guest's end."""
        event = {"event": "service_connect", "port": "u0", "service": service, "connection": 1}
        self.fake.send({**event, "client": str(GUEST), "client_port": 4000})
        request = await self.fake.asked("service_attach")
        sock = socket.socket(fileno=self.fake.fds_of(request).pop())
        sock.setblocking(False)
        return sock


@asynccontextmanager
async def opened(options: UserOptions) -> AsyncIterator[Rig]:
    before = open_descriptors()
    async with lab() as (network, fake):
        port = await network.add(options)
        assert isinstance(port, UserPort)
        with socket.socket(fileno=fake.fds_of(fake.sent("user_add")[0]).pop()) as end:
            end.setblocking(False)
            yield Rig(network, fake, port, end)
            await port.close()
    await until(lambda: open_descriptors() == before)


def guestfwd(*rules: str) -> tuple[GuestForward, ...]:
    return tuple(parse_guestfwd(rule, PLAN4, PLAN6) for rule in rules)


def is_there(path: str) -> bool:
    return Path(path).exists()


def question(name: str, rdtype: str = "A") -> bytes:
    return dns.message.make_query(name, rdtype).to_wire()


async def test_dns_is_there_for_both_families_over_udp_and_tcp() -> None:
    async with opened(user()) as rig:
        assert rig.services == [
            (proto, addr, 53) for proto in ("tcp", "udp") for addr in ("10.0.2.3", "fec0::3")
        ]


async def test_a_family_that_is_off_has_no_services(tmp_path: Path) -> None:
    async with opened(replace(user(), ipv6=None, tftp=str(tmp_path))) as rig:
        assert rig.services == [("tcp", "10.0.2.3", 53), ("udp", "10.0.2.2", 69), ("udp", "10.0.2.3", 53)]


async def test_a_restricted_network_has_all_but_dns(tmp_path: Path) -> None:
    rules = guestfwd("tcp:10.0.2.100:7-cmd:cat", "udp:10.0.2.101:8-udp:127.0.0.1:9")
    async with opened(replace(user(), restrict=True, tftp=str(tmp_path), guestfwd=rules)) as rig:
        assert rig.services == [
            ("tcp", "10.0.2.100", 7),
            ("udp", "10.0.2.101", 8),
            ("udp", "10.0.2.2", 69),
            ("udp", "fec0::2", 69),
        ]


async def test_every_service_has_a_name_of_its_own() -> None:
    rules = guestfwd("tcp:10.0.2.100:7-cmd:cat", "udp:10.0.2.100:7-udp:h:9", "tcp:10.0.2.100:8-cmd:cat")
    async with opened(replace(user(), guestfwd=rules)) as rig:
        names = [request["service"] for request in rig.fake.sent("service_add")]
        assert len(set(names)) == len(names) == 7


async def test_names_are_answered_as_the_options_say() -> None:
    records = (("db", ip_address("192.0.2.7")),)
    async with opened(replace(user(), domainname="lan", dnssearch=("lab",), host_records=records)) as rig:
        for name, address in (("db.lab.", "192.0.2.7"), ("host.lan.", "10.0.2.2")):
            answer = dns.message.from_wire(await rig.ask(DNS, 53, question(name)))
            assert [str(record) for record in answer.answer[0]] == [address]


async def test_dns_answers_over_tcp() -> None:
    async with opened(user()) as rig:
        with await rig.connect("dns/tcp/10.0.2.3") as sock:
            query = question("gateway.wirebay.internal.")
            sock.send(len(query).to_bytes(2, "big") + query)
            data = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(sock, 1000), 10)
            assert str(dns.message.from_wire(data[2:]).answer[0][0]) == "10.0.2.2"


async def test_files_are_served(tmp_path: Path) -> None:
    (tmp_path / "boot").write_bytes(b"kernel")
    async with opened(replace(user(), tftp=str(tmp_path))) as rig:
        assert await rig.ask(HOST, 69, b"\0\1boot\0octet\0") == b"\0\3\0\1kernel"


async def test_a_command_serves_a_connection() -> None:
    async with opened(replace(user(), guestfwd=guestfwd("tcp:10.0.2.100:7-cmd:cat"))) as rig:
        with await rig.connect("guestfwd/tcp/10.0.2.100/7") as sock:
            sock.send(b"hello")
            assert await asyncio.wait_for(asyncio.get_running_loop().sock_recv(sock, 10), 10) == b"hello"


async def test_a_rule_without_a_command_keeps_the_network_from_opening() -> None:
    async with lab() as (network, _):
        with pytest.raises(OptionError, match="Invalid guest forwarding rule"):
            await network.add(replace(user(), guestfwd=guestfwd("tcp:10.0.2.100:7-cmd:")))
        assert not network.ports


async def test_smb_has_both_its_ports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smb, "find_smbd", lambda: "/bin/echo")
    async with opened(replace(user(), smb=str(tmp_path), smbserver=SMB)) as rig:
        assert [one for one in rig.services if one[2] != 53] == [
            ("tcp", "10.0.2.4", 139),
            ("tcp", "10.0.2.4", 445),
        ]
        with await rig.connect("smb/tcp/445") as sock:
            said = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(sock, 1000), 10)
            private = said.split()[1].decode()
            assert is_there(private)
    assert not is_there(private)


async def test_a_share_that_is_missing_keeps_the_network_from_opening() -> None:
    async with lab() as (network, _):
        options = replace(user(), smb="/nonexistent", smbserver=SMB)
        with pytest.raises(HostError, match="Error accessing shared directory '/nonexistent'"):
            await network.add(options)
        assert not network.ports


async def test_what_the_worker_refuses_keeps_the_network_from_opening() -> None:
    before = open_descriptors()
    async with lab() as (network, fake):
        fake.answers["service_add"] = refusal("option", "no room")
        with pytest.raises(OptionError, match="no room"):
            await network.add(user())
    assert open_descriptors() == before


async def test_drops_are_told_by_service(tmp_path: Path) -> None:
    async with opened(replace(user(), tftp=str(tmp_path))) as rig:
        rig.fake.answers["stats"] = lambda _: {"ok": {"ports": {"u0": {}}}}
        await rig.ask(DNS, 53, b"\0\7\1\0\0\0" + bytes(6))
        await rig.ask(HOST, 69, b"\0\1nothing\0octet\0")
        rig.end.send(
            encode(
                Datagram(
                    mac=b"\2" * 6,
                    source=GUEST,
                    destination=HOST,
                    source_port=1,
                    destination_port=69,
                    payload=b"x",
                )
            )
        )
        await until(lambda: "tftp_malformed" in rig.port.service_drops())
        drops = (await rig.network.stats())["ports"]["u0"]["drops"]
        assert drops == {"dns_format": 1, "tftp_malformed": 1}


async def test_a_proxied_forward_is_accepted_here_and_told_with_its_client() -> None:
    rule = parse_hostfwd("tcp:127.0.0.1:0-:80+proxy-in")
    async with opened(user("u0", rule)) as rig:
        assert not rig.fake.sent("forward_add")
        (forward,) = rig.port.forwards
        assert forward.host_port > 0
        with socket.create_connection(("127.0.0.1", forward.host_port)) as client:
            client.send(b"PROXY TCP4 192.0.2.9 192.0.2.10 4242 80\r\nhello")
            request = await rig.fake.asked("forward_accept")
            assert request == {
                "cmd": "forward_accept", "port": "u0", "guest": "10.0.2.15", "guest_port": 80,
                "client": "192.0.2.9", "client_port": 4242,
            }  # fmt: skip
            with socket.socket(fileno=rig.fake.fds_of(request).pop()) as sock:
                assert sock.recv(100) == b"hello"


async def test_a_proxied_forward_can_be_removed() -> None:
    async with opened(user()) as rig:
        forward = await rig.port.add_forward("tcp:127.0.0.1:0-:80+proxy-out")
        await rig.port.remove_forward(forward)
        assert not rig.fake.sent("forward_remove")
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", forward.host_port))
