"""The DHCPv6 server of a user network (RFC 8415).

Theory of operation
===================

The worker brings every datagram for UDP port 547 over the service channel to `dhcp6_handler`, which hands it
to a `Dhcp6Server`. Like the DHCP server it is a machine, the one authority for its segment, and its only
memory is a `LeaseTable`: a client is a MAC address, and has one address whatever its DUID and IAID are.

    message              must have        answer
    SOLICIT              -                ADVERTISE, the address set aside for a minute; or, where the client
                                          says rapid commit, REPLY, the address given
    REQUEST              our server id    REPLY with the address, the wished one if it is free
    RENEW                our server id    the same; an address that is no more comes with lifetime 0
    REBIND               no server id     the same
    CONFIRM              no server id     REPLY: success if all addresses are of the network, else not on link
    RELEASE              our server id    REPLY; the address is free, the client is remembered
    DECLINE              our server id    REPLY; the address is given to nobody for a while
    INFORMATION-REQUEST  no address       REPLY with the settings

All but the last must have a client id. What breaks these rules, and SOLICIT, CONFIRM, REBIND and
INFORMATION-REQUEST to a unicast address, are dropped (section 16); the others are then told to use multicast
(section 18.4). The second IA_NA of a message, IA_TA and IA_PD are told that there is nothing for them.

What replies tell beside addresses is in `dhcp6_settings`.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv6Address

from wirebay.services.channel import Datagram, Handler
from wirebay.services.dhcp6_message import (
    Dhcp6Error,
    Dhcp6Message,
    IaAddress,
    IaNa,
    Kind,
    Option,
    OptionPair,
    Status,
    decode,
    decode_ia_na,
    encode,
    encode_ia_na,
    status_option,
)
from wirebay.services.dhcp6_settings import Dhcp6Config, settings_for
from wirebay.services.dhcp_leases import LeaseTable
from wirebay.services.domain_names import name_of_client6

__all__ = ["SERVER_PORT6", "Dhcp6Config", "Dhcp6Server", "dhcp6_handler"]

SERVER_PORT6 = 547
ALL_SERVERS = IPv6Address("ff02::1:2")
HOST_MAC = bytes.fromhex("525600000002")  # of the host in QEMU's default network
SERVER_ID = b"\0\3\0\1" + HOST_MAC  # DUID-LL, RFC 8415 section 11.4
BEST = b"\xff"  # so that no client waits for a better server

_ANSWERED = frozenset(Kind) - {Kind.ADVERTISE, Kind.REPLY}
_IA_SIZES = {Option.IA_TA: 4, Option.IA_PD: 12}


class Dhcp6Server:
    """The machine. `drops` counts, by reason, the messages that were not answered; `leases` is its memory."""

    def __init__(self, config: Dhcp6Config) -> None:
        self.config = config
        self.drops: Counter[str] = Counter()
        self.leases = LeaseTable(config.pool(), config.reserved)
        self._handlers = {
            Kind.SOLICIT: self._solicit,
            Kind.REQUEST: self._give,
            Kind.CONFIRM: self._confirm,
            Kind.RENEW: self._give,
            Kind.REBIND: self._give,
            Kind.RELEASE: self._release,
            Kind.DECLINE: self._decline,
            Kind.INFORMATION_REQUEST: self._inform,
        }

    def handle(self, message: bytes, mac: bytes, destination: IPv6Address, now: float) -> bytes | None:
        """Answer one message that a guest sent from the card `mac` (6 bytes) to `destination`.

        `now` is in seconds on any clock. Returns None when there is nothing to answer. Any bytes are taken,
        none raise.
        """
        try:
            request = decode(message)
            ias = [decode_ia_na(value) for value in request.all(Option.IA_NA)]
        except Dhcp6Error:
            self.drops["malformed"] += 1
            return None
        is_unicast = destination != ALL_SERVERS
        if reason := _invalid(request, is_unicast):
            self.drops[reason] += 1
            return None
        if is_unicast:
            return encode(_reply(request, Kind.REPLY, [status_option(Status.USE_MULTICAST)]))
        return self._answer(_Request(request, mac, ias, now))

    def _answer(self, request: _Request) -> bytes | None:
        reply = self._handlers[Kind(request.message.kind)](request)
        return None if reply is None else encode(reply)

    def _solicit(self, request: _Request) -> Dhcp6Message:
        if request.message.option(Option.RAPID_COMMIT) is not None:
            reply = self._give(request)
            return _more(reply, [(Option.RAPID_COMMIT, b"")])
        options = self._each(request, self._offer)
        return _reply(
            request.message,
            Kind.ADVERTISE,
            [*options, (Option.PREFERENCE, BEST), *settings_for(self.config, request.message)],
        )

    def _give(self, request: _Request) -> Dhcp6Message:
        options = self._each(request, self._bind)
        return _reply(request.message, Kind.REPLY, [*options, *settings_for(self.config, request.message)])

    def _each(self, request: _Request, place: Callable[[_Request, IaNa], IaNa]) -> list[OptionPair]:
        """Every IA with what there is for it: an address for the first IA_NA."""
        answers = [place(request, ia) for ia in request.ias[:1]]
        answers += [_refused(ia, Status.NO_ADDRS_AVAIL) for ia in request.ias[1:]]
        return [(Option.IA_NA, encode_ia_na(ia)) for ia in answers] + _others(request.message)

    def _offer(self, request: _Request, ia: IaNa) -> IaNa:
        address = self._choose(request, ia)
        if address is None:
            return _refused(ia, Status.NO_ADDRS_AVAIL)
        self.leases.offer(request.mac, address, request.now)
        return self._ia(ia, address)

    def _bind(self, request: _Request, ia: IaNa) -> IaNa:
        address = self._choose(request, ia)
        if address is None:
            return _refused(ia, Status.NO_ADDRS_AVAIL)
        own = name_of_client6(request.message.option(Option.FQDN))
        name = self.config.names.get(request.mac, own)
        until = request.now + self.config.lease_time
        self.leases.bind(request.mac, address, until, now=request.now, name=name)
        # What the client had and can have no longer is told so.
        gone = (IaAddress(address=old.address) for old in ia.addresses if old.address != address)
        return self._ia(ia, address, *gone)

    def _choose(self, request: _Request, ia: IaNa) -> IPv6Address | None:
        """The first address the client wishes and can have, else one for it; none is counted."""
        wishes = [wish.address for wish in ia.addresses]
        free = (wish for wish in wishes if self.leases.is_free(wish, request.mac, request.now))
        address = self.leases.choose(request.mac, next(free, None), request.now)
        if address is None:
            self.drops["pool_exhausted"] += 1
        return address

    def _ia(self, ia: IaNa, address: IPv6Address, *others: IaAddress) -> IaNa:
        """An IA with an address; the shares of its lifetime are those of RFC 8415 section 21.4."""
        lasts = self.config.lease_time
        given = IaAddress(address=address, preferred=lasts, valid=lasts)
        return IaNa(iaid=ia.iaid, t1=lasts // 2, t2=lasts * 4 // 5, addresses=(given, *others))

    def _confirm(self, request: _Request) -> Dhcp6Message | None:
        addresses = [entry.address for ia in request.ias for entry in ia.addresses]
        if not addresses:
            self.drops["nothing_to_confirm"] += 1
            return None
        on_link = all(address in self.config.net for address in addresses)
        status = Status.SUCCESS if on_link else Status.NOT_ON_LINK
        return _reply(request.message, Kind.REPLY, [status_option(status)])

    def _release(self, request: _Request) -> Dhcp6Message:
        return self._take_back(request, self.leases.release)

    def _decline(self, request: _Request) -> Dhcp6Message:
        return self._take_back(request, self.leases.block)

    def _take_back(
        self, request: _Request, take: Callable[[bytes, IPv6Address, float], bool]
    ) -> Dhcp6Message:
        """Success, and no binding for the IAs of which nothing was the client's (section 18.3.7)."""
        strangers = [
            (Option.IA_NA, encode_ia_na(_refused(ia, Status.NO_BINDING)))
            for ia in request.ias
            if not any(take(request.mac, entry.address, request.now) for entry in ia.addresses)
        ]
        return _reply(request.message, Kind.REPLY, [status_option(Status.SUCCESS), *strangers])

    def _inform(self, request: _Request) -> Dhcp6Message:
        return _reply(request.message, Kind.REPLY, settings_for(self.config, request.message))


@dataclass(frozen=True, slots=True)
class _Request:
    """A message that may be answered, taken apart."""

    message: Dhcp6Message
    mac: bytes
    ias: list[IaNa]
    now: float


def _invalid(request: Dhcp6Message, is_unicast: bool) -> str | None:
    """Why a message is not answered (RFC 8415 section 16), None if it is."""
    if request.kind not in _ANSWERED:
        return "unknown_type"
    ours = request.kind in (Kind.REQUEST, Kind.RENEW, Kind.RELEASE, Kind.DECLINE)
    server, client = request.option(Option.SERVER_ID), request.option(Option.CLIENT_ID)
    if request.kind != Kind.INFORMATION_REQUEST:
        if not client or (server is not None) != ours:
            return "invalid"
    elif any(code in (Option.IA_NA, Option.IA_TA, Option.IA_PD) for code, _ in request.options):
        return "invalid"
    if server not in (None, SERVER_ID):
        return "for_another_server"
    return "unicast" if is_unicast and not ours else None


def _reply(request: Dhcp6Message, kind: Kind, options: list[OptionPair]) -> Dhcp6Message:
    head: list[OptionPair] = [(Option.SERVER_ID, SERVER_ID)]
    client = request.option(Option.CLIENT_ID)
    if client is not None:
        head.append((Option.CLIENT_ID, client))
    return Dhcp6Message(kind=kind, xid=request.xid, options=(*head, *options))


def _more(message: Dhcp6Message, options: list[OptionPair]) -> Dhcp6Message:
    return Dhcp6Message(kind=message.kind, xid=message.xid, options=(*message.options, *options))


def _refused(ia: IaNa, status: Status) -> IaNa:
    return IaNa(iaid=ia.iaid, options=(status_option(status),))


def _others(request: Dhcp6Message) -> list[OptionPair]:
    """The IAs of kinds that there are none of."""
    answers: list[OptionPair] = []
    for code, value in request.options:
        if code not in _IA_SIZES or len(value) < _IA_SIZES[Option(code)]:
            continue
        status = Status.NO_PREFIX_AVAIL if code == Option.IA_PD else Status.NO_ADDRS_AVAIL
        _, reason = status_option(status)
        head = value[:4].ljust(_IA_SIZES[Option(code)], b"\0")
        answers.append(
            (code, head + Option.STATUS.to_bytes(2, "big") + len(reason).to_bytes(2, "big") + reason)
        )
    return answers


def dhcp6_handler(server: Dhcp6Server, clock: Callable[[], float] = time.monotonic) -> Handler:
    """The server as a service of the channel."""

    def handle(datagram: Datagram) -> list[Datagram]:
        destination = datagram.destination
        if not isinstance(destination, IPv6Address):
            return []
        payload = server.handle(datagram.payload, datagram.mac, destination, clock())
        return [] if payload is None else [datagram.answer(payload, source=server.config.host)]

    return handle
