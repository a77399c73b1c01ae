"""The DHCP server, situation by situation as RFC 2131 section 4.3 lists them."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

import pytest

from wirebay.services.dhcp import DhcpConfig, DhcpServer, Reply
from wirebay.services.dhcp_message import DhcpMessage, decode, encode

DISCOVER, OFFER, REQUEST, DECLINE, ACK, NAK, RELEASE, INFORM = range(1, 9)
DAY = 86400
CONFIG = DhcpConfig(
    net=IPv4Network("10.0.2.0/27"),  # which ends the pool where QEMU's ends
    host=IPv4Address("10.0.2.2"),
    dns=IPv4Address("10.0.2.3"),
    first=IPv4Address("10.0.2.15"),
)
ALICE, BOB, CAROL = (bytes((0x52, 0x54, 0, 0, 0, last)) for last in (1, 2, 3))


class Clients:
    """Clients of one server, and the time."""

    def __init__(self, config: DhcpConfig = CONFIG) -> None:
        self.server = DhcpServer(config)
        self.now = 1000.0

    def send(
        self,
        client: bytes,
        kind: int | None,
        *,
        want: str | None = None,
        server: str | None = None,
        ciaddr: str = "0.0.0.0",
        giaddr: str = "0.0.0.0",
        params: bytes = b"",
        flags: int = 0,
    ) -> Reply | None:
        options = {53: bytes((kind,))} if kind else {}
        options |= {50: IPv4Address(want).packed} if want else {}
        options |= {54: IPv4Address(server).packed} if server else {}
        options |= {55: params} if params else {}
        request = DhcpMessage(
            op=1, xid=7, chaddr=client, flags=flags, options=options,
            ciaddr=IPv4Address(ciaddr), giaddr=IPv4Address(giaddr),
        )  # fmt: skip
        return self.server.handle(encode(request), client, self.now)

    def ask(
        self,
        client: bytes,
        kind: int | None,
        *,
        want: str | None = None,
        server: str | None = None,
        ciaddr: str = "0.0.0.0",
    ) -> tuple[int | None, str] | None:
        """Type and address of the reply, None for silence."""
        reply = self.send(client, kind, want=want, server=server, ciaddr=ciaddr)
        if reply is None:
            return None
        message = decode(reply.payload)
        return message.message_type, str(message.yiaddr)

    def lease(self, client: bytes, want: str | None = None) -> str:
        """The whole exchange of a new client; its address."""
        offer = self.send(client, DISCOVER, want=want)
        assert offer is not None
        address = str(decode(offer.payload).yiaddr)
        assert self.ask(client, REQUEST, want=address, server="10.0.2.2") == (ACK, address)
        return address


@pytest.fixture
def net() -> Clients:
    return Clients()


def options_of(reply: Reply | None) -> dict[int, bytes]:
    assert reply is not None
    return dict(decode(reply.payload).options)


# What a client may send in each state, and what it gets.


def test_a_new_client_is_offered_the_first_address_and_gets_it(net: Clients) -> None:
    assert net.ask(ALICE, DISCOVER) == (OFFER, "10.0.2.15")
    assert net.ask(ALICE, REQUEST, want="10.0.2.15", server="10.0.2.2") == (ACK, "10.0.2.15")


def test_each_client_gets_the_next_address(net: Clients) -> None:
    assert [net.lease(client) for client in (ALICE, BOB, CAROL)] == ["10.0.2.15", "10.0.2.16", "10.0.2.17"]


def test_a_free_address_is_granted_when_asked_for(net: Clients) -> None:
    assert net.ask(ALICE, DISCOVER, want="10.0.2.20") == (OFFER, "10.0.2.20")


@pytest.mark.parametrize("want", ["10.0.2.15", "10.0.2.2", "10.0.2.14", "10.0.2.31", "192.168.0.5"])
def test_a_wish_for_a_taken_or_foreign_address_is_passed_over_in_the_offer(net: Clients, want: str) -> None:
    net.lease(ALICE)
    assert net.ask(BOB, DISCOVER, want=want) == (OFFER, "10.0.2.16")


def test_an_address_on_offer_to_one_is_not_offered_to_another(net: Clients) -> None:
    net.ask(ALICE, DISCOVER)
    assert net.ask(BOB, DISCOVER) == (OFFER, "10.0.2.16")


def test_an_offer_that_is_not_taken_lapses(net: Clients) -> None:
    for last in range(16):
        net.ask(bytes((2, 0, 0, 0, 0, last)), DISCOVER)
    assert net.ask(BOB, DISCOVER) is None
    net.now += 61
    assert net.ask(BOB, DISCOVER) == (OFFER, "10.0.2.15")


def test_choosing_another_server_frees_the_offer_at_once(net: Clients) -> None:
    net.ask(ALICE, DISCOVER, want="10.0.2.20")
    assert net.ask(ALICE, REQUEST, want="10.9.9.9", server="10.9.9.1") is None
    assert net.ask(BOB, REQUEST, want="10.0.2.20") == (ACK, "10.0.2.20")


@pytest.mark.parametrize("want", ["10.0.2.15", "10.0.2.3", "192.168.0.5"])
def test_selecting_an_address_that_is_not_to_be_had_is_refused(net: Clients, want: str) -> None:
    net.lease(ALICE)
    assert net.ask(BOB, REQUEST, want=want, server="10.0.2.2") == (NAK, "0.0.0.0")


def test_a_refusal_says_why_in_the_words_of_qemu_and_is_broadcast(net: Clients) -> None:
    reply = net.send(ALICE, REQUEST, ciaddr="192.168.0.5")
    assert options_of(reply) == {53: b"\6", 54: CONFIG.host.packed, 56: b"requested address not available"}
    assert reply is not None
    assert (reply.mac, str(reply.destination)) == (b"\xff" * 6, "255.255.255.255")


def test_a_rebooting_client_gets_the_address_it_remembers(net: Clients) -> None:
    address = net.lease(ALICE)
    assert net.ask(ALICE, REQUEST, want=address) == (ACK, address)


def test_a_rebooting_client_is_known_again_by_a_server_that_forgot_it(net: Clients) -> None:
    assert net.ask(ALICE, REQUEST, want="10.0.2.22") == (ACK, "10.0.2.22")


@pytest.mark.parametrize("want", ["10.0.2.15", "192.168.1.15", "10.0.2.200"])
def test_a_rebooting_client_that_moved_is_refused_at_once(net: Clients, want: str) -> None:
    net.lease(ALICE)
    assert net.ask(BOB, REQUEST, want=want) == (NAK, "0.0.0.0")


def test_a_renewing_client_is_answered_straight(net: Clients) -> None:
    address = net.lease(ALICE)
    reply = net.send(ALICE, REQUEST, ciaddr=address)
    assert reply is not None
    assert (reply.mac, str(reply.destination), str(reply.source)) == (ALICE, address, "10.0.2.2")
    message = decode(reply.payload)
    assert (message.message_type, str(message.ciaddr), str(message.yiaddr)) == (ACK, address, address)


def test_renewing_extends_the_lease_from_now(net: Clients) -> None:
    address = net.lease(ALICE)
    net.now += DAY - 1
    assert net.ask(ALICE, REQUEST, ciaddr=address) == (ACK, address)
    net.now += DAY - 1
    assert net.ask(BOB, REQUEST, want=address) == (NAK, "0.0.0.0")


def test_renewing_an_address_that_went_to_another_is_refused(net: Clients) -> None:
    address = net.lease(ALICE)
    net.now += DAY
    assert net.ask(BOB, REQUEST, want=address) == (ACK, address)
    assert net.ask(ALICE, REQUEST, ciaddr=address) == (NAK, "0.0.0.0")


def test_a_request_without_address_gets_what_the_client_had(net: Clients) -> None:
    net.lease(BOB)
    address = net.lease(ALICE)
    assert net.ask(ALICE, REQUEST) == (ACK, address)


def test_asking_for_another_free_address_moves_the_client(net: Clients) -> None:
    net.lease(ALICE)
    assert net.ask(ALICE, REQUEST, want="10.0.2.20") == (ACK, "10.0.2.20")
    assert net.ask(BOB, DISCOVER) == (OFFER, "10.0.2.15")


def test_an_offer_of_another_address_leaves_the_lease_alone(net: Clients) -> None:
    net.lease(ALICE)
    net.ask(ALICE, DISCOVER, want="10.0.2.20")
    assert net.ask(BOB, REQUEST, want="10.0.2.15") == (NAK, "0.0.0.0")
    net.now += 3600
    assert net.ask(BOB, REQUEST, want="10.0.2.15") == (NAK, "0.0.0.0")


def test_a_client_keeps_one_offer_at_most(net: Clients) -> None:
    for last in range(16, 31):
        net.ask(ALICE, DISCOVER, want=f"10.0.2.{last}")
    assert net.ask(BOB, DISCOVER, want="10.0.2.20") == (OFFER, "10.0.2.20")


def test_a_declined_address_goes_to_nobody_for_a_time(net: Clients) -> None:
    address = net.lease(ALICE)
    assert net.ask(ALICE, DECLINE, want=address, server="10.0.2.2") is None
    assert net.ask(ALICE, DISCOVER) == (OFFER, "10.0.2.16")
    assert net.ask(BOB, REQUEST, want=address) == (NAK, "0.0.0.0")
    net.now += 601
    assert net.ask(BOB, REQUEST, want=address) == (ACK, address)


def test_only_the_holder_can_decline_an_address(net: Clients) -> None:
    address = net.lease(ALICE)
    net.ask(BOB, DECLINE, want=address)
    net.ask(BOB, DECLINE, want="10.0.2.20")
    net.ask(BOB, DECLINE)
    assert net.ask(ALICE, REQUEST, ciaddr=address) == (ACK, address)
    assert net.ask(BOB, REQUEST, want="10.0.2.20") == (ACK, "10.0.2.20")
    assert net.server.drops["not_the_clients_address"] == 3


def test_a_released_address_is_free_but_its_client_is_remembered(net: Clients) -> None:
    net.lease(BOB)
    address = net.lease(ALICE)
    assert net.ask(ALICE, RELEASE, ciaddr=address, server="10.0.2.2") is None
    assert net.ask(ALICE, DISCOVER) == (OFFER, address)
    assert net.ask(ALICE, RELEASE, ciaddr=address) is None
    assert net.ask(CAROL, REQUEST, want=address) == (ACK, address)


def test_only_the_holder_can_release_an_address(net: Clients) -> None:
    address = net.lease(ALICE)
    net.ask(BOB, RELEASE, ciaddr=address)
    assert net.ask(BOB, REQUEST, want=address) == (NAK, "0.0.0.0")


def test_inform_is_answered_with_settings_but_no_address(net: Clients) -> None:
    reply = net.send(ALICE, INFORM, ciaddr="10.0.2.30")
    assert reply is not None
    assert (reply.mac, str(reply.destination)) == (ALICE, "10.0.2.30")
    assert str(decode(reply.payload).yiaddr) == "0.0.0.0"
    assert options_of(reply).keys() == {53, 54, 1, 3, 6}


def test_inform_from_outside_of_the_network_is_answered_by_broadcast(net: Clients) -> None:
    reply = net.send(ALICE, INFORM, ciaddr="192.168.0.1")
    assert reply is not None
    assert str(reply.destination) == "255.255.255.255"


def test_bootp_gets_an_address_for_good(net: Clients) -> None:
    assert net.ask(ALICE, None) == (None, "10.0.2.15")
    net.now += 1000 * DAY
    assert net.ask(BOB, REQUEST, want="10.0.2.15") == (NAK, "0.0.0.0")
    assert net.ask(ALICE, None) == (None, "10.0.2.15")


# Which address.


def test_firmware_and_system_of_one_card_get_the_same_address(net: Clients) -> None:
    """Whatever client id they send: a port forward leads to one address."""
    ids = (b"\xff" + bytes(18), b"\1" + ALICE)
    requests = [
        DhcpMessage(
            op=1, xid=1, chaddr=ALICE, options={53: b"\3", 50: IPv4Address("10.0.2.15").packed, 61: client_id}
        )
        for client_id in ids
    ]
    replies = [net.server.handle(encode(request), ALICE, net.now) for request in requests]
    assert [decode(reply.payload).message_type for reply in replies if reply] == [ACK, ACK]


def test_the_pool_ends_with_the_network_and_the_next_client_gets_silence(net: Clients) -> None:
    leased = [net.lease(bytes((2, 0, 0, 0, 0, last))) for last in range(16)]
    assert leased == [f"10.0.2.{last}" for last in range(15, 31)]
    assert net.ask(ALICE, DISCOVER) is None
    assert net.ask(ALICE, REQUEST) is None
    assert net.ask(ALICE, None) is None
    assert net.server.drops["pool_exhausted"] == 3


def test_lapsed_leases_are_reused_last_the_oldest_first(net: Clients) -> None:
    for last in range(15):
        net.lease(bytes((2, 0, 0, 0, 0, last)))
        net.now += 1
    net.now += 2 * DAY
    assert net.lease(ALICE) == "10.0.2.30"
    assert net.lease(BOB) == "10.0.2.15"


def test_a_client_gets_its_lapsed_address_again(net: Clients) -> None:
    net.lease(BOB)
    address = net.lease(ALICE)
    net.now += 10 * DAY
    assert net.ask(ALICE, DISCOVER) == (OFFER, address)


@pytest.mark.parametrize(
    ("net", "host", "dns", "first", "expected"),
    [
        ("10.0.2.0/29", 2, 3, 4, [4, 5, 6]),
        ("10.0.2.0/24", 20, 22, 15, [15, 16, 17, 18, 19, 21, *range(23, 255)]),
        ("10.0.2.0/24", 2, 3, 250, [250, 251, 252, 253, 254]),
        ("10.0.2.0/24", 2, 3, 0, [1, *range(4, 255)]),
        ("10.0.0.0/8", 2, 3, 15, [*range(15, 15 + 256)]),
    ],
)  # fmt: skip
def test_the_pool_leaves_out_what_is_not_a_guests(
    net: str, host: int, dns: int, first: int, expected: list[int]
) -> None:
    base = IPv4Network(net).network_address
    config = DhcpConfig(net=IPv4Network(net), host=base + host, dns=base + dns, first=base + first)
    assert config.pool() == [base + number for number in expected]


# What the reply says.


def test_the_options_are_those_of_qemu_in_its_order_then_ours() -> None:
    net = Clients(replace(CONFIG, hostname="vm", mtu=9000))
    options = options_of(net.send(ALICE, DISCOVER))
    assert list(options) == [53, 54, 1, 3, 6, 51, 12, 26, 58, 59]
    assert options == {
        53: b"\2",
        54: bytes((10, 0, 2, 2)),
        1: bytes((255, 255, 255, 224)),
        3: bytes((10, 0, 2, 2)),
        6: bytes((10, 0, 2, 3)),
        51: (86400).to_bytes(4, "big"),
        12: b"vm",
        26: (9000).to_bytes(2, "big"),
        58: (43200).to_bytes(4, "big"),
        59: (75600).to_bytes(4, "big"),
    }


def test_restrict_leaves_out_router_and_dns() -> None:
    options = options_of(Clients(replace(CONFIG, restrict=True)).send(ALICE, DISCOVER))
    assert not {3, 6} & options.keys()


def test_the_usual_mtu_is_told_only_to_those_who_ask(net: Clients) -> None:
    assert 26 not in options_of(net.send(ALICE, DISCOVER, params=b"\1\3"))
    assert options_of(net.send(ALICE, DISCOVER, params=b"\1\x1a\3"))[26] == b"\x05\xdc"


def test_a_reply_repeats_what_marks_the_exchange_and_is_broadcast(net: Clients) -> None:
    reply = net.send(ALICE, DISCOVER, flags=0x8000)
    assert reply is not None
    assert (reply.mac, str(reply.destination), str(reply.source)) == (
        b"\xff" * 6,
        "255.255.255.255",
        "10.0.2.2",
    )
    message = decode(reply.payload)
    assert (message.op, message.xid, message.chaddr, message.flags) == (2, 7, ALICE, 0x8000)
    assert str(message.siaddr) == "10.0.2.2"


def test_the_longest_reply_fits_what_every_client_must_take() -> None:
    reply = Clients(replace(CONFIG, hostname="h" * 255, mtu=9000)).send(ALICE, DISCOVER)
    assert reply is not None
    assert len(reply.payload) <= 548  # RFC 2131 section 2: a datagram of 576 bytes, less the headers


# What is not answered.


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"nonsense", "malformed"),
        (encode(DhcpMessage(op=2, xid=1, chaddr=ALICE)), "not_a_request"),
        (encode(DhcpMessage(op=1, xid=1, chaddr=ALICE, options={53: b"\x0a"})), "unknown_type"),
        (encode(DhcpMessage(op=1, xid=1, chaddr=ALICE, options={53: b"\2"})), "unknown_type"),
        (encode(DhcpMessage(op=1, xid=1, chaddr=ALICE, giaddr=IPv4Address("10.0.2.9"))), "relayed"),
    ],
)
def test_what_is_not_for_the_server_is_counted_and_not_answered(
    net: Clients, data: bytes, reason: str
) -> None:
    assert net.server.handle(data, ALICE, net.now) is None
    assert net.server.drops == {reason: 1}


# Leases set aside.

RESERVED = replace(CONFIG, reserved={ALICE: IPv4Address("10.0.2.9")}, names={ALICE: "web"})


def test_a_reserved_address_goes_to_its_client_and_to_nobody_else() -> None:
    net = Clients(RESERVED)
    assert net.ask(BOB, DISCOVER, want="10.0.2.9") == (OFFER, "10.0.2.15")
    assert net.ask(BOB, REQUEST, want="10.0.2.9") == (NAK, "0.0.0.0")
    assert net.ask(ALICE, DISCOVER) == (OFFER, "10.0.2.9")
    assert net.ask(ALICE, REQUEST, want="10.0.2.9") == (ACK, "10.0.2.9")


def test_a_client_with_a_reserved_address_gets_no_other() -> None:
    net = Clients(RESERVED)
    assert net.ask(ALICE, DISCOVER, want="10.0.2.20") == (OFFER, "10.0.2.9")
    assert net.ask(ALICE, REQUEST, want="10.0.2.20") == (NAK, "0.0.0.0")


def test_a_reserved_address_may_lie_in_the_pool_and_is_then_no_part_of_it() -> None:
    net = Clients(replace(CONFIG, reserved={ALICE: IPv4Address("10.0.2.15")}))
    assert net.lease(BOB) == "10.0.2.16"
    net.now += 1000 * DAY
    assert net.lease(ALICE) == "10.0.2.15"
    net.now += 1000 * DAY
    assert [net.lease(bytes((2, 0, 0, 0, 0, last))) for last in range(14)].count("10.0.2.15") == 0


def test_a_reserved_address_that_was_declined_is_given_again_when_the_block_is_over() -> None:
    net = Clients(RESERVED)
    net.lease(ALICE)
    net.send(ALICE, DECLINE, want="10.0.2.9")
    assert net.ask(ALICE, DISCOVER) is None
    net.now += 601
    assert net.lease(ALICE) == "10.0.2.9"


# Names.


def learn(net: Clients, client: bytes, **options: bytes) -> None:
    """A client takes an address and says how it is called."""
    request = DhcpMessage(
        op=1, xid=1, chaddr=client, options={53: b"\3"} | {int(code[1:]): v for code, v in options.items()}
    )
    net.server.handle(encode(request), client, net.now)


def names(net: Clients) -> dict[str, str]:
    return {name: str(address) for name, address in net.server.leases.names(net.now).items()}


def test_the_name_a_client_gives_itself_is_known_as_long_as_its_lease(net: Clients) -> None:
    learn(net, ALICE, o12=b"Debian")
    learn(net, BOB, o12=b"short", o81=b"\4\0\0\3box\7example\0")
    learn(net, CAROL, o81=b"\0\0\0carol.example.")
    assert names(net) == {"debian": "10.0.2.15", "box.example": "10.0.2.16", "carol.example": "10.0.2.17"}
    net.send(BOB, RELEASE, ciaddr="10.0.2.16")
    assert names(net) == {"debian": "10.0.2.15", "carol.example": "10.0.2.17"}
    net.now += 2 * DAY
    assert names(net) == {}


def test_of_two_clients_with_one_name_the_first_keeps_it(net: Clients) -> None:
    learn(net, ALICE, o12=b"box")
    learn(net, BOB, o12=b"BOX")
    learn(net, ALICE, o12=b"box")
    assert names(net) == {"box": "10.0.2.15"}


@pytest.mark.parametrize("name", [b"", b"a b", b"10.0.2.2", b"x" * 64, b"\xff", b"-", b"a\0b", b".", b"a..b"])
def test_what_is_no_host_name_is_not_learned(net: Clients, name: bytes) -> None:
    learn(net, ALICE, o12=name, o81=b"\0\0\0" + name)
    learn(net, BOB, o81=b"\4\0\0" + bytes((len(name),)) + name)
    assert names(net) == {}


def test_a_name_set_aside_is_told_and_comes_before_the_clients_own() -> None:
    net = Clients(replace(RESERVED, hostname="everybody"))
    learn(net, ALICE, o12=b"other")
    assert names(net) == {"web": "10.0.2.9"}
    assert options_of(net.send(ALICE, DISCOVER))[12] == b"web"
    assert options_of(net.send(BOB, DISCOVER))[12] == b"everybody"


# Booting from the network.

BOOT = replace(
    CONFIG,
    domainname="example.org",
    search=("a.example", "b.example"),
    tftp_server_name="boot",
    bootfile="pxe.0",
)


def ask_with(config: DhcpConfig, kind: int | None = DISCOVER, **options: bytes) -> DhcpMessage:
    """What the server answers to a request with these options."""
    given = {53: bytes((kind,))} if kind else {}
    given |= {int(code[1:]): value for code, value in options.items()}
    request = encode(DhcpMessage(op=1, xid=1, chaddr=ALICE, options=given))
    reply = DhcpServer(config).handle(request, ALICE, 0.0)
    assert reply
    return decode(reply.payload)


def test_names_and_boot_options_come_in_qemus_order() -> None:
    reply = ask_with(replace(BOOT, hostname="vm"))
    assert list(reply.options) == [53, 54, 1, 3, 6, 51, 12, 15, 66, 119, 58, 59]
    assert (reply.options[15], reply.options[66]) == (b"example.org", b"boot")
    assert reply.options[119] == b"\1a\7example\0\1b\xc0\2"
    assert reply.file == b"pxe.0"


def test_the_boot_file_is_an_option_too_for_those_who_ask() -> None:
    assert ask_with(BOOT, o55=b"\x43").options[67] == b"pxe.0"
    assert 67 not in ask_with(BOOT).options


@pytest.mark.parametrize(
    ("bootfile", "client", "says"),
    [
        ("http://boot.example/x.efi", {"o60": b"HTTPClient:Arch:00016:UNDI:003001"}, b"HTTPClient"),
        ("https://boot.example/x.efi", {"o60": b"HTTPClient"}, b"HTTPClient"),
        ("http://boot.example/x.efi", {"o93": b"\0\x10"}, b"HTTPClient"),
        ("http://boot.example/x.efi", {"o60": b"PXEClient", "o93": b"\0\x07"}, None),
        ("http://boot.example/x.efi", {}, None),
        ("pxe.0", {"o60": b"HTTPClient"}, None),
    ],
)
def test_a_client_that_boots_by_http_is_told_so(
    bootfile: str, client: dict[str, bytes], says: bytes | None
) -> None:
    assert ask_with(replace(CONFIG, bootfile=bootfile), DISCOVER, **client).options.get(60) == says


def test_the_uuid_of_a_machine_is_repeated() -> None:
    assert ask_with(BOOT, o97=b"\0" + b"u" * 16).options[97] == b"\0" + b"u" * 16


def test_a_refusal_has_no_boot_file() -> None:
    reply = ask_with(BOOT, REQUEST, o50=IPv4Address("10.9.9.9").packed)
    assert (reply.message_type, reply.file) == (NAK, b"")


def test_bootp_gets_the_settings_and_nothing_that_only_dhcp_has() -> None:
    """RFC 1534 section 2."""
    reply = ask_with(BOOT, None)
    assert str(reply.yiaddr) == "10.0.2.15"
    assert list(reply.options) == [1, 3, 6, 15, 66, 119]
    assert reply.file == b"pxe.0"


def test_under_restrict_the_router_is_told_where_forwards_lead_in() -> None:
    server = DhcpServer(replace(CONFIG, restrict=True), has_forwards=True)
    request = encode(DhcpMessage(op=1, xid=1, chaddr=ALICE, options={53: b"\1"}))
    options = options_of(server.handle(request, ALICE, 0.0))
    assert options[3] == bytes((10, 0, 2, 2))
    assert 6 not in options


def test_a_reply_fits_what_the_client_takes() -> None:
    config = replace(
        BOOT,
        hostname="h" * 255,
        domainname="d" * 255,
        tftp_server_name="t" * 255,
        search=tuple(f"{'s' * 63}.{n}.example" for n in range(5)),
    )
    assert len(encode(ask_with(config))) <= 548
    reply = ask_with(config, o57=(1500).to_bytes(2, "big"))
    assert len(encode(reply)) <= 1472
    assert {12, 15, 66} < reply.options.keys()
    assert len(reply.options[119]) > 255
    small = ask_with(replace(config, mtu=576), o57=(1500).to_bytes(2, "big"))
    assert len(encode(small)) <= 548
