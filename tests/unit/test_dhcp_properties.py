"""The DHCP server under any sequence of messages: addresses stay apart, leases stay put, nothing crashes."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from wirebay.services.dhcp import DhcpConfig, DhcpServer
from wirebay.services.dhcp_message import DhcpMessage, MessageType, decode, encode

LEASE_TIME = 1000
CONFIG = DhcpConfig(
    net=IPv4Network("10.0.2.0/29"),
    host=IPv4Address("10.0.2.1"),
    dns=IPv4Address("10.0.2.2"),
    first=IPv4Address("10.0.2.3"),
    lease_time=LEASE_TIME,
)
MACS = [bytes((2, 0, 0, 0, 0, last)) for last in range(6)]  # more clients than the four addresses

clients = st.sampled_from(MACS)
addresses = st.sampled_from([IPv4Address("10.0.2.0") + last for last in range(10)])
maybe_address = st.none() | addresses
kinds = st.sampled_from([None, *MessageType])


class Network(RuleBasedStateMachine):
    """`held` is what the clients believe: the address that each was given, and until when."""

    def __init__(self) -> None:
        super().__init__()
        self.server = DhcpServer(CONFIG)
        self.now = 0.0
        self.held: dict[bytes, tuple[IPv4Address, float]] = {}

    def send(
        self,
        client: bytes,
        kind: int | None,
        want: IPv4Address | None = None,
        ciaddr: IPv4Address | None = None,
        server: IPv4Address | None = None,
    ) -> DhcpMessage | None:
        options = {53: bytes((kind,))} if kind else {}
        options |= {code: value.packed for code, value in ((50, want), (54, server)) if value}
        request = DhcpMessage(op=1, xid=1, chaddr=client, ciaddr=ciaddr or IPv4Address(0), options=options)
        reply = self.server.handle(encode(request), client, self.now)
        return decode(reply.payload) if reply else None

    def live(self, client: bytes) -> IPv4Address | None:
        address, until = self.held.get(client, (None, 0.0))
        return address if until > self.now else None

    @rule(client=clients, kind=kinds, want=maybe_address, ciaddr=maybe_address, server=maybe_address)
    def anything(
        self,
        client: bytes,
        kind: int | None,
        want: IPv4Address | None,
        ciaddr: IPv4Address | None,
        server: IPv4Address | None,
    ) -> None:
        reply = self.send(client, kind, want, ciaddr, server)
        gave_up = (
            {MessageType.RELEASE: ciaddr, MessageType.DECLINE: want}.get(MessageType(kind)) if kind else None
        )
        if gave_up is not None and gave_up == self.live(client):
            del self.held[client]
        if reply and reply.message_type == MessageType.ACK and kind != MessageType.INFORM:
            lasts = LEASE_TIME if kind else float("inf")
            self.held[client] = reply.yiaddr, self.now + lasts

    @rule(client=clients)
    def the_holder_of_a_lease_can_renew_it(self, client: bytes) -> None:
        if (address := self.live(client)) is None:
            return
        reply = self.send(client, MessageType.REQUEST, ciaddr=address)
        assert reply is not None
        assert (reply.message_type, reply.yiaddr) == (MessageType.ACK, address)
        self.held[client] = address, self.now + LEASE_TIME

    @rule(client=clients)
    def the_holder_of_a_lease_is_offered_it_again(self, client: bytes) -> None:
        if (address := self.live(client)) is None:
            return
        reply = self.send(client, MessageType.DISCOVER)
        assert reply is not None
        assert reply.yiaddr == address

    @rule(seconds=st.sampled_from([0.001, 1, 59, 61, 599, 601, LEASE_TIME - 1, LEASE_TIME, 10 * LEASE_TIME]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @invariant()
    def no_two_clients_hold_one_address(self) -> None:
        live = [address for client in MACS if (address := self.live(client))]
        assert len(live) == len(set(live))

    @invariant()
    def addresses_come_from_the_pool(self) -> None:
        assert {address for address, _ in self.held.values()} <= set(CONFIG.pool())


TestNetwork = Network.TestCase
TestNetwork.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


option_codes = st.sampled_from([0, 12, 50, 51, 52, 53, 54, 55, 61, 255]) | st.integers(0, 255)
options = st.lists(st.tuples(option_codes, st.binary(max_size=8))).map(
    lambda pairs: b"".join(bytes((code, len(value))) + value for code, value in pairs)
)
tails = st.binary(max_size=400) | options
times = st.floats(-1e9, 1e9)


@given(st.lists(st.tuples(kinds, tails, times), max_size=8))
def test_no_bytes_and_no_jump_of_time_make_the_server_fail(
    messages: list[tuple[int | None, bytes, float]],
) -> None:
    server = DhcpServer(CONFIG)
    for kind, tail, now in messages:
        options = {53: bytes((kind,))} if kind else {}
        start = encode(DhcpMessage(op=1, xid=1, chaddr=MACS[0], options=options)).rstrip(b"\0\xff")
        server.handle(start + tail, MACS[0], now)
        server.handle(tail, MACS[0], now)
