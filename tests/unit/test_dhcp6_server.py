"""The DHCPv6 server, message by message as RFC 8415 section 18.3 lists them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wirebay.services.channel import Datagram
from wirebay.services.dhcp6 import SERVER_ID, Dhcp6Config, Dhcp6Server, dhcp6_handler
from wirebay.services.dhcp6_message import (
    Dhcp6Message,
    IaAddress,
    IaNa,
    decode,
    decode_ia_na,
    encode,
    encode_ia_na,
)

SOLICIT, ADVERTISE, REQUEST, CONFIRM, RENEW, REBIND, REPLY, RELEASE, DECLINE, _, INFORM = range(1, 12)
NO_ADDRS, NO_BINDING, NOT_ON_LINK, USE_MULTICAST, NO_PREFIX = range(2, 7)
DAY = 86400
CONFIG = Dhcp6Config(net=IPv6Network("fec0::/64"), host=IPv6Address("fec0::2"), dns=IPv6Address("fec0::3"))
ALICE, BOB = (bytes((0x52, 0x54, 0, 0, 0, last)) for last in (1, 2))
MULTICAST = IPv6Address("ff02::1:2")
Options = Sequence[tuple[int, bytes]]


def address(host: int) -> IPv6Address:
    return CONFIG.net[host]


def ia(*hosts: int, iaid: int = 7) -> tuple[int, bytes]:
    """An IA_NA with wishes."""
    wishes = tuple(IaAddress(address=address(host)) for host in hosts)
    return 3, encode_ia_na(IaNa(iaid=iaid, addresses=wishes))


class Clients:
    """Clients of one server, and the time."""

    def __init__(self, config: Dhcp6Config = CONFIG) -> None:
        self.server = Dhcp6Server(config)
        self.now = 1000.0

    def send(
        self, client: bytes, kind: int, *options: tuple[int, bytes], to: IPv6Address = MULTICAST
    ) -> Dhcp6Message | None:
        """A message with what its kind must have."""
        head: list[tuple[int, bytes]] = [(1, b"\0\3\0\1" + client)]
        if kind in (REQUEST, RENEW, RELEASE, DECLINE):
            head.append((2, SERVER_ID))
        message = encode(Dhcp6Message(kind=kind, xid=99, options=(*head, *options)))
        reply = self.server.handle(message, client, to, self.now)
        return decode(reply) if reply else None

    def ask(self, client: bytes, kind: int, *options: tuple[int, bytes]) -> list[tuple[int, int]]:
        """The addresses in the first IA_NA of the answer, by their host part, and their lifetimes."""
        reply = self.send(client, kind, *options)
        assert reply
        first = decode_ia_na(reply.all(3)[0])
        base = int(CONFIG.net.network_address)
        return [(int(entry.address) - base, entry.valid) for entry in first.addresses]


@pytest.fixture
def net() -> Clients:
    return Clients()


def status(options: Options) -> int | None:
    return next((int.from_bytes(value[:2], "big") for code, value in options if code == 13), None)


def ia_status(reply: Dhcp6Message | None, number: int = 0) -> int | None:
    assert reply
    return status(decode_ia_na(reply.all(3)[number]).options)


def test_four_messages_give_an_address(net: Clients) -> None:
    offer = net.send(ALICE, SOLICIT, ia())
    assert offer
    assert (offer.kind, offer.xid) == (ADVERTISE, 99)
    assert (offer.option(2), offer.option(1), offer.option(7)) == (SERVER_ID, b"\0\3\0\1" + ALICE, b"\xff")
    offered = decode_ia_na(offer.all(3)[0])
    assert offered == IaNa(
        iaid=7, t1=DAY // 2, t2=DAY * 4 // 5,
        addresses=(IaAddress(address=address(0x15), preferred=DAY, valid=DAY),),
    )  # fmt: skip
    reply = net.send(ALICE, REQUEST, ia(0x15))
    assert reply
    assert (reply.kind, decode_ia_na(reply.all(3)[0])) == (REPLY, offered)


def test_two_messages_give_an_address_to_those_in_a_hurry(net: Clients) -> None:
    reply = net.send(ALICE, SOLICIT, ia(), (14, b""))
    assert reply
    assert (reply.kind, reply.option(14)) == (REPLY, b"")
    assert net.ask(BOB, REQUEST, ia(0x15)) == [(0x16, DAY), (0x15, 0)]


def test_an_offer_holds_an_address_for_a_minute(net: Clients) -> None:
    net.send(ALICE, SOLICIT, ia())
    assert net.ask(BOB, SOLICIT, ia(0x15)) == [(0x16, DAY)]
    net.now += 61
    assert net.ask(BOB, SOLICIT, ia(0x15)) == [(0x15, DAY)]


def test_a_client_has_one_address_whatever_it_calls_itself(net: Clients) -> None:
    """Firmware and operating system have DUIDs and IAIDs of their own, and a forward needs one address."""
    assert net.ask(ALICE, REQUEST, ia(iaid=1)) == [(0x15, DAY)]
    other = Dhcp6Message(kind=REQUEST, xid=1, options=((1, b"other"), (2, SERVER_ID), ia(iaid=2)))
    reply = net.server.handle(encode(other), ALICE, MULTICAST, net.now)
    assert reply
    assert decode_ia_na(decode(reply).all(3)[0]).addresses[0].address == address(0x15)


def test_a_client_gets_its_lapsed_address_again(net: Clients) -> None:
    net.ask(BOB, REQUEST, ia())
    net.ask(ALICE, REQUEST, ia())
    net.now += 100 * DAY
    assert net.ask(ALICE, SOLICIT, ia()) == [(0x16, DAY)]


@pytest.mark.parametrize("kind", [RENEW, REBIND])
def test_a_lease_is_renewed(net: Clients, kind: int) -> None:
    net.ask(ALICE, REQUEST, ia())
    net.now += DAY - 1
    assert net.ask(ALICE, kind, ia(0x15)) == [(0x15, DAY)]
    net.now += DAY - 1
    assert net.ask(BOB, REQUEST, ia(0x15)) == [(0x16, DAY), (0x15, 0)]


def test_what_a_client_can_have_no_longer_comes_with_lifetime_zero(net: Clients) -> None:
    net.ask(ALICE, REQUEST, ia())
    assert net.ask(BOB, RENEW, ia(0x15, 0x20)) == [(0x20, DAY), (0x15, 0)]
    elsewhere = IaAddress(address=IPv6Address("fd00::15"))
    reply = net.send(BOB, RENEW, (3, encode_ia_na(IaNa(iaid=1, addresses=(elsewhere,)))))
    assert reply
    entries = decode_ia_na(reply.all(3)[0]).addresses
    assert [entry.valid for entry in entries] == [DAY, 0]
    assert entries[1].address == elsewhere.address


def test_addresses_are_confirmed_by_their_network(net: Clients) -> None:
    reply = net.send(ALICE, CONFIRM, ia(0x77))
    assert reply
    assert status(reply.options) == 0
    elsewhere = (3, encode_ia_na(IaNa(iaid=1, addresses=(IaAddress(address=IPv6Address("fd00::1")),))))
    reply = net.send(ALICE, CONFIRM, ia(0x77), elsewhere)
    assert reply
    assert status(reply.options) == NOT_ON_LINK
    assert net.send(ALICE, CONFIRM, ia()) is None
    assert net.server.drops == {"nothing_to_confirm": 1}


def test_a_released_address_is_free(net: Clients) -> None:
    net.ask(ALICE, REQUEST, ia())
    reply = net.send(ALICE, RELEASE, ia(0x15))
    assert reply
    assert (status(reply.options), reply.all(3)) == (0, [])
    assert net.ask(BOB, REQUEST, ia(0x15)) == [(0x15, DAY)]


def test_a_declined_address_is_given_to_nobody_for_a_while(net: Clients) -> None:
    net.ask(ALICE, REQUEST, ia())
    assert net.send(ALICE, DECLINE, ia(0x15))
    assert net.ask(ALICE, SOLICIT, ia(0x15)) == [(0x16, DAY)]
    net.now += 601
    assert net.ask(BOB, REQUEST, ia(0x15)) == [(0x15, DAY)]


@pytest.mark.parametrize("kind", [RELEASE, DECLINE])
def test_nobody_gives_back_what_is_not_theirs(net: Clients, kind: int) -> None:
    net.ask(ALICE, REQUEST, ia())
    reply = net.send(BOB, kind, ia(0x15))
    assert reply
    assert (status(reply.options), ia_status(reply)) == (0, NO_BINDING)
    assert net.ask(ALICE, RENEW, ia(0x15)) == [(0x15, DAY)]


def test_an_empty_pool_is_told_and_counted() -> None:
    net = Clients(replace(CONFIG, net=IPv6Network("fec0::/126")))
    assert net.ask(ALICE, REQUEST, ia()) == [(1, DAY)]
    for kind in (SOLICIT, REQUEST):
        assert ia_status(net.send(BOB, kind, ia())) == NO_ADDRS
    assert net.server.drops["pool_exhausted"] == 2


def test_there_is_one_address_in_a_message_and_no_prefix(net: Clients) -> None:
    temporary, prefix = (4, bytes(4)), (25, b"\0\0\0\5" + bytes(8))
    reply = net.send(ALICE, SOLICIT, ia(iaid=1), ia(iaid=2), temporary, prefix)
    assert reply
    assert (ia_status(reply, 0), ia_status(reply, 1)) == (None, NO_ADDRS)
    (ta,), (pd,) = reply.all(4), reply.all(25)
    assert (ta[:4], ta[4:10]) == (bytes(4), b"\0\x0d\0\2\0\2")
    assert (pd[:4], pd[12:18]) == (b"\0\0\0\5", b"\0\x0d\0\2\0\6")


# Leases set aside, and names.

RESERVED = replace(CONFIG, reserved={ALICE: address(9)}, names={ALICE: "web"})


def test_a_reserved_address_goes_to_its_client_and_to_nobody_else() -> None:
    net = Clients(RESERVED)
    assert net.ask(BOB, REQUEST, ia(9)) == [(0x15, DAY), (9, 0)]
    assert net.ask(ALICE, REQUEST, ia(0x20)) == [(9, DAY), (0x20, 0)]
    assert net.server.leases.names(net.now) == {"web": address(9)}


def test_the_name_of_a_client_is_learned(net: Clients) -> None:
    net.send(ALICE, REQUEST, ia(), (39, b"\0\3box\7example\0"))
    net.send(BOB, REQUEST, ia(), (39, b"\0\3a b"))
    assert net.server.leases.names(net.now) == {"box.example": address(0x15)}


# Settings.

BOOT = replace(CONFIG, search=("a.example", "b.example"), bootfile="pxe.efi")
EVERYTHING = (6, bytes((0, 23, 0, 24, 0, 59)))


def settings_of(config: Dhcp6Config, *options: tuple[int, bytes], kind: int = INFORM) -> dict[int, bytes]:
    reply = Clients(config).send(ALICE, kind, *options)
    assert reply
    return {code: value for code, value in reply.options if code not in (1, 2, 3, 7)}


def test_settings_are_told_to_those_who_ask() -> None:
    assert settings_of(BOOT, EVERYTHING) == {
        23: address(3).packed,
        24: b"\1a\7example\0\1b\7example\0",
        59: b"tftp://[fec0::2]/pxe.efi",
    }
    assert settings_of(BOOT) == {}
    assert settings_of(BOOT, EVERYTHING, ia(), kind=SOLICIT) == settings_of(BOOT, EVERYTHING)
    assert settings_of(BOOT, EVERYTHING, ia(), kind=REQUEST) == settings_of(BOOT, EVERYTHING)


def test_what_there_is_not_is_not_told() -> None:
    assert settings_of(CONFIG, EVERYTHING).keys() == {23}
    assert settings_of(replace(BOOT, restrict=True), EVERYTHING).keys() == {24, 59}


@pytest.mark.parametrize("asked", [True, False])
def test_a_client_that_boots_by_http_is_told_so(asked: bool) -> None:
    url = replace(CONFIG, bootfile="http://[fec0::2]/x.efi")
    client = [(16, b"\0\0\1\x57\0\x19HTTPClient:Arch:00016")] if asked else []
    settings = settings_of(url, EVERYTHING, *client)
    assert settings[59] == b"http://[fec0::2]/x.efi"
    assert settings.get(16) == (b"\0\0\1\x57\0\x0aHTTPClient" if asked else None)


def test_a_client_may_stay_nameless_when_it_asks_for_settings(net: Clients) -> None:
    message = encode(Dhcp6Message(kind=INFORM, xid=1, options=(EVERYTHING,)))
    reply = net.server.handle(message, ALICE, MULTICAST, net.now)
    assert reply
    assert decode(reply).options == ((2, SERVER_ID), (23, address(3).packed))


# What is not answered.


@pytest.mark.parametrize(
    ("kind", "options", "reason"),
    [
        (SOLICIT, [], "invalid"),
        (SOLICIT, [(1, b"")], "invalid"),
        (SOLICIT, [(1, b"x"), (2, SERVER_ID)], "invalid"),
        (REBIND, [(1, b"x"), (2, SERVER_ID)], "invalid"),
        (CONFIRM, [(1, b"x"), (2, SERVER_ID), ia(1)], "invalid"),
        (REQUEST, [(1, b"x")], "invalid"),
        (REQUEST, [(2, SERVER_ID)], "invalid"),
        (REQUEST, [(1, b"x"), (2, b"other")], "for_another_server"),
        (RELEASE, [(1, b"x"), (2, b"other")], "for_another_server"),
        (INFORM, [(2, b"other")], "for_another_server"),
        (INFORM, [ia()], "invalid"),
        (INFORM, [(25, bytes(12))], "invalid"),
        (ADVERTISE, [(1, b"x"), (2, SERVER_ID)], "unknown_type"),
        (REPLY, [(1, b"x"), (2, SERVER_ID)], "unknown_type"),
        (12, [(1, b"x")], "unknown_type"),
        (SOLICIT, [(1, b"x"), (3, b"short")], "malformed"),
    ],
)
def test_what_breaks_the_rules_is_counted_and_not_answered(
    net: Clients, kind: int, options: Options, reason: str
) -> None:
    message = encode(Dhcp6Message(kind=kind, xid=1, options=tuple(options)))
    assert net.server.handle(message, ALICE, MULTICAST, net.now) is None
    assert net.server.drops == {reason: 1}


def test_what_comes_straight_to_the_server_is_dropped_or_told_to_use_multicast(net: Clients) -> None:
    for kind in (SOLICIT, CONFIRM, REBIND, INFORM):
        assert net.send(ALICE, kind, *([] if kind == INFORM else [ia(1)]), to=CONFIG.host) is None
    assert net.server.drops == {"unicast": 4}
    for kind in (REQUEST, RENEW, RELEASE, DECLINE):
        reply = net.send(ALICE, kind, ia(1), to=CONFIG.host)
        assert reply
        assert status(reply.options) == USE_MULTICAST


def test_an_answer_comes_from_the_host() -> None:
    question = Datagram(
        mac=ALICE,
        source=IPv6Address("fe80::5054:ff:fe00:1"),
        destination=MULTICAST,
        source_port=546,
        destination_port=547,
        payload=encode(Dhcp6Message(kind=INFORM, xid=1)),
    )
    handle = dhcp6_handler(Dhcp6Server(CONFIG), lambda: 5.0)
    (answer,) = handle(question)
    assert (answer.mac, answer.source, answer.destination) == (ALICE, CONFIG.host, question.source)
    assert (answer.source_port, answer.destination_port) == (547, 546)
    assert list(handle(replace(question, payload=b""))) == []
    assert list(handle(replace(question, destination=IPv4Address("10.0.2.2")))) == []


@pytest.mark.parametrize(
    ("net", "first", "count"),
    [("fec0::/64", 0x15, 256), ("fec0::/123", 0x15, 11), ("fec0::/124", 1, 13), ("fec0::/126", 1, 1)],
)
def test_the_pool_is_what_the_network_has(net: str, first: int, count: int) -> None:
    pool = replace(CONFIG, net=IPv6Network(net)).pool()
    assert (pool[0], len(pool)) == (address(first), count)
    assert not {CONFIG.host, CONFIG.dns} & set(pool)


kinds = st.integers(0, 14)
values = st.binary(max_size=40) | st.just(SERVER_ID)
wishes = st.lists(st.integers(0, 40), max_size=3).map(lambda hosts: ia(*hosts))
options = st.lists(wishes | st.tuples(st.sampled_from([1, 2, 3, 4, 6, 14, 16, 25, 39]), values), max_size=6)


@given(st.lists(st.tuples(kinds, options, st.sampled_from([ALICE, BOB]), st.floats(0, 1e9)), max_size=8))
def test_no_message_and_no_jump_of_time_make_the_server_fail_or_give_a_client_two_addresses(
    messages: list[tuple[int, Options, bytes, float]],
) -> None:
    server = Dhcp6Server(replace(CONFIG, net=IPv6Network("fec0::/125")))
    for kind, extra, client, now in messages:
        data = encode(Dhcp6Message(kind=kind, xid=1, options=tuple(extra)))
        server.handle(data, client, MULTICAST, now)
        server.handle(data[:-1], client, CONFIG.host, now)
        holders = [binding.client for binding in server.leases.bindings()]
        assert len(holders) == len(set(holders))
