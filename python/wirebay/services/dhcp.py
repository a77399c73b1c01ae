"""The DHCP and BOOTP server of a user network.

Theory of operation
===================

The worker brings every datagram for UDP port 67 over the service channel (docs/protocol.md) to
`dhcp_handler`, which hands it to a `DhcpServer` and sends back what that answers. The server is a machine:
bytes, the sender's MAC address and the time go in, one reply or nothing comes out, and its only memory is a
`LeaseTable`.

It is the one authority for its segment, so unlike a server among others it also refuses what it knows
nothing about; a client that moved here from elsewhere then starts over at once instead of waiting. What a
client wants is told by which fields it filled in (RFC 2131 section 4.3.2, table 4):

    message   client state  server id  requested  ciaddr  answer
    DISCOVER  init          -          maybe      -       OFFER; the address is set aside for a minute
    REQUEST   selecting     ours       yes        -       ACK or NAK
    REQUEST   selecting     other's    yes        -       none; our offer is withdrawn
    REQUEST   init-reboot   -          yes        -       ACK or NAK
    REQUEST   renewing      -          -          yes     ACK, straight to the client; or NAK by broadcast
    REQUEST   rebinding     -          -          yes     the same
    DECLINE   (any)         maybe      yes        -       none; the address is given to nobody for a while
    RELEASE   bound         maybe      -          yes     none; the address is free, the client is remembered
    INFORM    -             -          -          yes     ACK with the settings, without an address or times
    (none)    BOOTP         -          maybe      maybe   an address for good: it never asks again

A REQUEST that names no address gets what the client had, or a free one, as QEMU answers it.

What replies say is in `dhcp_settings`. They are broadcast on both levels as QEMU sends them, whatever the
broadcast flag says; only a client that has its address (ciaddr) is answered straight (RFC 2131 section 4.1).
Relay agents (giaddr) are not answered: they ask for another network than this one.

A guest that sends nonsense, or more than the pool holds, gets silence; `drops` counts why.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address

from wirebay.services.channel import Datagram, Handler
from wirebay.services.dhcp_leases import LeaseTable
from wirebay.services.dhcp_message import (
    BOOT_REPLY,
    BOOT_REQUEST,
    IP_UDP_HEADERS,
    UNSPECIFIED,
    DhcpError,
    DhcpMessage,
    MessageType,
    Option,
    decode,
)
from wirebay.services.dhcp_settings import DhcpConfig, fitted, reply_options
from wirebay.services.domain_names import name_of_client

__all__ = ["SERVER_PORT", "DhcpConfig", "DhcpServer", "Reply", "dhcp_handler"]

BROADCAST = IPv4Address("255.255.255.255")
BROADCAST_MAC = b"\xff" * 6
REFUSAL = b"requested address not available"  # QEMU's words
SERVER_PORT, CLIENT_PORT = 67, 68


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """A datagram to send, from port 67 of `source` to port 68 of `destination`."""

    payload: bytes
    mac: bytes
    destination: IPv4Address
    source: IPv4Address


class DhcpServer:
    """The machine. `drops` counts, by reason, the messages that were not answered.

    `leases` is its memory. `has_forwards` tells guests a router even under `restrict`.
    """

    def __init__(self, config: DhcpConfig, *, has_forwards: bool = False) -> None:
        self.config = config
        self.has_forwards = has_forwards
        self.drops: Counter[str] = Counter()
        self.leases = LeaseTable(config.pool(), config.reserved)

    def handle(self, message: bytes, client_mac: bytes, now: float) -> Reply | None:
        """Answer one message that the frame's sender `client_mac` (6 bytes) sent; `now` is in seconds on
        any clock.

        Returns None when there is nothing to answer. Any bytes are taken, none raise.
        """
        try:
            request = decode(message)
        except DhcpError:
            return self._drop("malformed")
        if request.op != BOOT_REQUEST:
            return self._drop("not_a_request")
        if request.giaddr != UNSPECIFIED:
            return self._drop("relayed")
        return self._dispatch(request, client_mac, now)

    def _dispatch(self, request: DhcpMessage, client_mac: bytes, now: float) -> Reply | None:
        match request.message_type:
            case MessageType.DISCOVER:
                return self._discover(request, now)
            case MessageType.REQUEST:
                return self._request(request, client_mac, now)
            case MessageType.DECLINE:
                return self._decline(request, now)
            case MessageType.RELEASE:
                return self._release(request, now)
            case MessageType.INFORM:
                return self._inform(request, client_mac)
            case None:
                return self._bootp(request, now)
            case _:
                return self._drop("unknown_type")

    def _discover(self, request: DhcpMessage, now: float) -> Reply | None:
        address = self.leases.choose(request.chaddr, request.requested_address, now)
        if address is None:
            return self._drop("pool_exhausted")
        self.leases.offer(request.chaddr, address, now)
        return self._broadcast(request, address, self._options(request, MessageType.OFFER))

    def _request(self, request: DhcpMessage, client_mac: bytes, now: float) -> Reply | None:
        if not self._is_for_us(request):
            self.leases.withdraw(request.chaddr, now)
            return self._drop("for_another_server")
        wish = request.requested_address or _known(request.ciaddr)
        address = wish or self.leases.choose(request.chaddr, None, now)
        if address is None:
            return self._drop("pool_exhausted")
        if not self.leases.is_free(address, request.chaddr, now):
            return self._refuse(request)
        self._bind(request, address, now + self.config.lease_time, now)
        options = self._options(request, MessageType.ACK)
        if request.ciaddr == address:
            return self._unicast(request, client_mac, address, options)
        return self._broadcast(request, address, options)

    def _bootp(self, request: DhcpMessage, now: float) -> Reply | None:
        wish = request.requested_address or _known(request.ciaddr)
        address = self.leases.choose(request.chaddr, wish, now)
        if address is None:
            return self._drop("pool_exhausted")
        self._bind(request, address, math.inf, now)
        return self._broadcast(request, address, self._options(request, MessageType.ACK))

    def _decline(self, request: DhcpMessage, now: float) -> Reply | None:
        address = request.requested_address
        if self._is_for_us(request) and address and self.leases.block(request.chaddr, address, now):
            return None
        return self._drop("not_the_clients_address")

    def _release(self, request: DhcpMessage, now: float) -> Reply | None:
        if self._is_for_us(request) and self.leases.release(request.chaddr, request.ciaddr, now):
            return None
        return self._drop("not_the_clients_address")

    def _inform(self, request: DhcpMessage, client_mac: bytes) -> Reply:
        """The client has an address from elsewhere and wants the rest (RFC 2131 section 4.3.5)."""
        options = self._options(request, MessageType.ACK, lease=False)
        if request.ciaddr in self.config.net:
            return self._unicast(request, client_mac, UNSPECIFIED, options)
        return self._broadcast(request, UNSPECIFIED, options)

    def _refuse(self, request: DhcpMessage) -> Reply:
        self.drops["refused"] += 1
        options: dict[int, bytes] = {
            Option.MESSAGE_TYPE: bytes((MessageType.NAK,)),
            Option.SERVER_ID: self.config.host.packed,
            Option.MESSAGE: REFUSAL,
        }
        return self._broadcast(request, UNSPECIFIED, options)

    def _drop(self, reason: str) -> Reply | None:
        """Count it, and answer nothing."""
        self.drops[reason] += 1
        return None

    def _is_for_us(self, request: DhcpMessage) -> bool:
        return request.server_id in (None, self.config.host)

    def _bind(self, request: DhcpMessage, address: IPv4Address, until: float, now: float) -> None:
        client, options = request.chaddr, request.options
        own = name_of_client(options.get(Option.HOST_NAME), options.get(Option.FQDN))
        self.leases.bind(client, address, until, now=now, name=self.config.names.get(client, own))

    def _options(self, request: DhcpMessage, kind: MessageType, *, lease: bool = True) -> dict[int, bytes]:
        return reply_options(self.config, request, kind, lease=lease, router=self.has_forwards)

    def _broadcast(self, request: DhcpMessage, address: IPv4Address, options: dict[int, bytes]) -> Reply:
        payload = self._encode(request, UNSPECIFIED, address, options)
        return Reply(payload=payload, mac=BROADCAST_MAC, destination=BROADCAST, source=self.config.host)

    def _unicast(
        self, request: DhcpMessage, mac: bytes, address: IPv4Address, options: dict[int, bytes]
    ) -> Reply:
        payload = self._encode(request, request.ciaddr, address, options)
        return Reply(payload=payload, mac=mac, destination=request.ciaddr, source=self.config.host)

    def _encode(
        self, request: DhcpMessage, ciaddr: IPv4Address, yiaddr: IPv4Address, options: dict[int, bytes]
    ) -> bytes:
        refuses = options.get(Option.MESSAGE_TYPE) == bytes((MessageType.NAK,))
        reply = DhcpMessage(
            op=BOOT_REPLY,
            xid=request.xid,
            chaddr=request.chaddr,
            flags=request.flags,
            ciaddr=ciaddr,
            yiaddr=yiaddr,
            siaddr=self.config.host,
            file=b"" if refuses else self.config.boot_file(),
            options=options,
        )
        return fitted(reply, min(request.largest_reply, self.config.mtu - IP_UDP_HEADERS))


def _known(address: IPv4Address) -> IPv4Address | None:
    return None if address == UNSPECIFIED else address


def dhcp_handler(server: DhcpServer, clock: Callable[[], float] = time.monotonic) -> Handler:
    """The server as a service of the channel."""

    def handle(datagram: Datagram) -> list[Datagram]:
        reply = server.handle(datagram.payload, datagram.mac, clock())
        return [] if reply is None else [_datagram(reply)]

    return handle


def _datagram(reply: Reply) -> Datagram:
    return Datagram(
        mac=reply.mac,
        source=reply.source,
        destination=reply.destination,
        source_port=SERVER_PORT,
        destination_port=CLIENT_PORT,
        payload=reply.payload,
    )
