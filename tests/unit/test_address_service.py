"""DHCP and DHCPv6 of a network together: leases that survive, names, and what is logged."""

from __future__ import annotations

import asyncio
import logging
import math
import socket
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest

from tests.unit.lab import PLAN4, PLAN6, until, user
from wirebay.options.types import DhcpHost, UserOptions
from wirebay.options.user import search_domains
from wirebay.services import address_service
from wirebay.services.address_service import AddressService
from wirebay.services.channel import Datagram, ServiceChannel
from wirebay.services.dhcp6 import ALL_SERVERS, SERVER_ID
from wirebay.services.dhcp6_message import Dhcp6Message, IaNa, encode_ia_na
from wirebay.services.dhcp6_message import encode as encode6
from wirebay.services.dhcp_message import DhcpMessage, encode

pytestmark = pytest.mark.anyio

ALICE, BOB = (bytes((0x52, 0x54, 0, 0, 0, last)) for last in (1, 2))
BROADCAST = IPv4Address("255.255.255.255")


def request(client: bytes, name: bytes = b"", kind: int | None = 3) -> Datagram:
    """A client that takes any address."""
    options = {53: bytes((kind,))} if kind else {}
    options |= {12: name} if name else {}
    payload = encode(DhcpMessage(op=1, xid=1, chaddr=client, options=options))
    return Datagram(
        mac=client, source=IPv4Address(0), destination=BROADCAST, source_port=68, destination_port=67,
        payload=payload,
    )  # fmt: skip


def request6(client: bytes, name: bytes = b"") -> Datagram:
    """The same over IPv6."""
    options = [(1, client), (2, SERVER_ID), (3, encode_ia_na(IaNa(iaid=1)))]
    options += [(39, b"\0" + bytes((len(name),)) + name)] if name else []
    return Datagram(
        mac=client, source=IPv6Address("fe80::1"), destination=ALL_SERVERS, source_port=546,
        destination_port=547, payload=encode6(Dhcp6Message(kind=3, xid=1, options=tuple(options))),
    )  # fmt: skip


class Site:
    """A service on a channel, its clocks, and the guests that talk to it."""

    def __init__(self, options: UserOptions, now: float = 50.0, day: float = 1e9) -> None:
        self.now, self.day = now, day
        self.service = AddressService(options, clock=lambda: self.now, wall=lambda: self.day)
        self._ours, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._channel = ServiceChannel(self._ours)
        self.service.start(self._channel)

    def send(self, *datagrams: Datagram) -> None:
        for datagram in datagrams:
            handler = self._channel._handler_for(datagram)
            assert handler
            list(handler(datagram))

    def close(self) -> None:
        self.service.close()
        self._channel.close()
        self._theirs.close()


def entries(directory: Path) -> list[str]:
    return [entry.name for entry in directory.iterdir()]


def held(service: AddressService) -> dict[str, float]:
    return {str(lease.address): lease.remaining for lease in service.leases}


async def test_leases_survive_a_restart_and_lapse_by_the_calendar(tmp_path: Path) -> None:
    options = replace(user(), leases=str(tmp_path / "leases"))
    first = Site(options)
    first.send(request(ALICE, b"box"), request(BOB, kind=None), request6(ALICE))
    first.close()
    # Another boot: the clock began anew, an hour of the calendar has gone.
    second = Site(options, now=3.0, day=1e9 + 3600)
    assert held(second.service) == {"10.0.2.15": 82800, "10.0.2.16": math.inf, "fec0::15": 82800}
    assert second.service.names() == {"box": (IPv4Address("10.0.2.15"),)}
    second.close()
    third = Site(options, day=1e9 + 90000)
    assert held(third.service) == {"10.0.2.16": math.inf}
    third.send(request(ALICE))
    assert "10.0.2.15" in held(third.service)
    third.close()


async def test_leases_that_do_not_fit_the_network_any_more_are_left_out(tmp_path: Path) -> None:
    options = replace(user(), leases=str(tmp_path / "leases"))
    first = Site(options)
    first.send(request(ALICE), request(BOB))
    first.close()
    aside = DhcpHost(mac=BOB, address=IPv4Address("10.0.2.15"))
    second = Site(replace(options, dhcp_hosts=(aside,), ipv6=None))
    assert held(second.service) == {}
    second.close()


async def test_changes_are_written_a_moment_later_without_being_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(address_service, "SAVE_DELAY", 0.0)
    path = tmp_path / "leases"
    site = Site(replace(user(), leases=str(path)))
    site.send(request(ALICE))
    assert not path.exists()
    async with asyncio.timeout(5):
        await until(path.exists)
    written = path.stat().st_mtime_ns
    site.send(request(ALICE, kind=8))
    site.close()
    assert path.stat().st_mtime_ns == written


async def test_without_a_file_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    site = Site(user())
    site.send(request(ALICE))
    site.close()
    assert entries(tmp_path) == []


async def test_a_name_is_one_guests_and_has_the_addresses_of_both_families() -> None:
    aside = DhcpHost(mac=ALICE, address=IPv6Address("fec0::9"), name="Web")
    site = Site(replace(user(), dhcp_hosts=(aside,)))
    site.send(request(BOB, b"web"), request(ALICE), request6(BOB, b"mail"), request(BOB, b"mail"))
    assert site.service.names() == {
        "web": (IPv6Address("fec0::9"), IPv4Address("10.0.2.16")),
        "mail": (IPv4Address("10.0.2.15"), IPv6Address("fec0::15")),
    }
    site.close()


async def test_a_full_pool_is_one_sentence(caplog: pytest.LogCaptureFixture) -> None:
    small = replace(PLAN4, net=next(PLAN4.net.subnets(new_prefix=29)), dhcpstart=IPv4Address("10.0.2.6"))
    site = Site(replace(user(), ipv4=small))
    with caplog.at_level(logging.WARNING):
        site.send(*(request(bytes((2, 0, 0, 0, 0, last))) for last in range(9)))
    assert [record.getMessage() for record in caplog.records] == [
        "user network 'u0' has no address left for a guest"
    ]
    assert site.service.drops() == {"dhcp_pool_exhausted": 8}
    site.close()


async def test_a_network_of_one_family_has_one_server() -> None:
    four, six = Site(replace(user(), ipv6=None)), Site(replace(user(), ipv4=None))
    assert (four.service.dhcp6, six.service.dhcp) == (None, None)
    assert (str(four.service.first_address), str(six.service.first_address)) == ("10.0.2.15", "fec0::15")
    four.close()
    six.close()


async def test_under_restrict_a_router_is_told_from_the_first_forward_on() -> None:
    site = Site(replace(user(), restrict=True))
    server = site.service.dhcp
    assert server
    told = [server.has_forwards]
    site.service.expect_forwards()
    told.append(server.has_forwards)
    assert told == [False, True]
    site.close()


@pytest.mark.parametrize(
    ("search", "domain", "expected"),
    [
        (("a.example",), "b.example", ("a.example",)),
        ((), "b.example", ("b.example",)),
        ((), "no domain", ()),
        ((), None, ()),
    ],
)
async def test_the_domain_is_searched_where_no_list_is_given(
    search: tuple[str, ...], domain: str | None, expected: tuple[str, ...]
) -> None:
    options = UserOptions(id="u0", ipv4=PLAN4, ipv6=PLAN6, dnssearch=search, domainname=domain)
    assert search_domains(options) == expected


async def test_a_new_lease_is_told_once() -> None:
    site = Site(user())
    told: list[tuple[bytes, str]] = []
    site.service.on_lease = lambda lease: told.append((lease.mac, str(lease.address)))
    site.send(
        request(ALICE, kind=1), request(ALICE), request(ALICE), request6(ALICE), request(BOB, kind=None)
    )
    assert told == [(ALICE, "10.0.2.15"), (ALICE, "fec0::15"), (BOB, "10.0.2.16")]
    site.now += 90000
    site.send(request(ALICE), request(BOB))
    assert told[3:] == [(ALICE, "10.0.2.15")]
    site.close()


async def test_the_first_guest_of_a_small_ipv6_network_gets_what_is_set_aside() -> None:
    small = replace(PLAN6, net=next(PLAN6.net.subnets(new_prefix=126)))
    aside = DhcpHost(mac=ALICE, address=IPv6Address("fec0::1"))
    site = Site(replace(user(), ipv4=None, ipv6=small, dhcp_hosts=(aside,)))
    assert str(site.service.first_address) == "fec0::1"
    site.close()
