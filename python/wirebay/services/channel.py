"""The service channel of a user network: datagrams from guests to services in Python, and back.

How to build a service on it
============================

The worker brings a guest's UDP datagram here when it is for an address and port that a service has; what a
service sends, the worker wraps in UDP, IP and Ethernet, in fragments where it exceeds the MTU.

- `channel.register(address, port, handler)` makes `handler(datagram)` be called for every datagram to that
  address and port; `address` None is any address (DHCP's broadcast and multicast). A registration for one
  address comes before one for any.
- A handler is a plain function that never blocks. It returns the datagrams to send at once, mostly
  `[datagram.answer(payload)]` or `[]`.
- What is to be sent later (a forwarded question, a retransmission) goes out by `channel.send(datagram)`, from
  whatever task or timer the service runs; the service bounds and ends those itself.
- Nothing waits. A datagram that the worker has no room for is dropped and counted, as on any network.
- A handler that raises is a bug: it is logged once for each registration, and its datagram is counted.

Registering here does not tell the worker: it brings DHCP and DHCPv6 by itself, and everything else from the
command `service_add` on (docs/protocol.md), which the port sends.

The format, both ways, one datagram a packet, big-endian: 6 bytes MAC address of the guest, 16 source address,
16 destination address (IPv4 as ::ffff:a.b.c.d), 2 source port, 2 destination port, payload.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import struct
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import IPv6Address
from itertools import count

from wirebay.options.types import Address

__all__ = ["HEADER_SIZE", "ChannelError", "Datagram", "Handler", "ServiceChannel", "decode", "encode"]

MAX_PACKET = 65536  # the largest UDP payload and the header fit
TURN = 16  # packets that are taken before others in this process have their turn

_HEADER = struct.Struct("!6s16s16sHH")
HEADER_SIZE = _HEADER.size
_MAPPED = bytes(10) + b"\xff\xff"  # RFC 4291 section 2.5.5.2

logger = logging.getLogger("wirebay")


class ChannelError(Exception):
    """These bytes are no packet of the channel. Never leaves the services."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Datagram:
    """One UDP datagram. `mac` (6 bytes) is the guest's, whichever way it goes."""

    mac: bytes
    source: Address
    destination: Address
    source_port: int
    destination_port: int
    payload: bytes

    def answer(self, payload: bytes, *, source: Address | None = None) -> Datagram:
        """The datagram that goes back with `payload`.

        `source` replaces the address that was asked, which broadcast and multicast make necessary.
        """
        return Datagram(
            mac=self.mac,
            source=self.destination if source is None else source,
            destination=self.source,
            source_port=self.destination_port,
            destination_port=self.source_port,
            payload=payload,
        )


Handler = Callable[[Datagram], Iterable[Datagram]]


def decode(packet: bytes) -> Datagram:
    """Read one packet of the channel. Raises ChannelError, and nothing else, for bytes that are none."""
    if len(packet) < HEADER_SIZE:
        raise ChannelError(f"{len(packet)} bytes are fewer than the {HEADER_SIZE} of the header")
    mac, source, destination, source_port, destination_port = _HEADER.unpack_from(packet)
    return Datagram(
        mac=mac,
        source=_address(source),
        destination=_address(destination),
        source_port=source_port,
        destination_port=destination_port,
        payload=packet[HEADER_SIZE:],
    )


def encode(datagram: Datagram) -> bytes:
    """Write one packet of the channel."""
    header = _HEADER.pack(
        datagram.mac,
        _packed(datagram.source),
        _packed(datagram.destination),
        datagram.source_port,
        datagram.destination_port,
    )
    return header + datagram.payload


class ServiceChannel:
    """Python's end of the channel. `drops` counts, by reason, what did not reach a service or a guest."""

    def __init__(self, sock: socket.socket) -> None:
        """Take over `sock`, one end of a SOCK_SEQPACKET pair; `close()` closes it."""
        sock.setblocking(False)
        self.drops: Counter[str] = Counter()
        self._socket = sock
        self._handlers: dict[tuple[Address | None, int], Handler] = {}
        self._failed: set[Handler] = set()

    def register(self, address: Address | None, port: int, handler: Handler) -> None:
        """Have `handler` called for datagrams to `address` (None: any) and `port`.

        Raises ValueError when that has a handler already.
        """
        if (address, port) in self._handlers:
            raise ValueError(f"port {port} of {address} has a service already")
        self._handlers[address, port] = handler

    def unregister(self, address: Address | None, port: int) -> None:
        """Undo `register`. Raises KeyError when there is nothing to undo."""
        self._failed.discard(self._handlers.pop((address, port)))

    def send(self, datagram: Datagram) -> None:
        """Send to a guest, or drop where the worker has no room for it or is gone."""
        try:
            self._socket.send(encode(datagram))
        except BlockingIOError:
            self.drops["channel_full"] += 1
        except OSError:
            self.drops["channel_closed"] += 1

    async def serve(self) -> None:
        """Bring what arrives to the handlers, until the worker's end closes."""
        loop = asyncio.get_running_loop()
        with contextlib.suppress(ConnectionError):  # the worker went away between two calls
            for number in count(1):
                packet = await loop.sock_recv(self._socket, MAX_PACKET)
                if not packet:
                    return
                self._take(packet)
                # sock_recv does not wait while the socket is ready: without this, a guest that sends without
                # end would be the only thing this process attends to.
                if number % TURN == 0:
                    await asyncio.sleep(0)

    def close(self) -> None:
        """Close our end; `serve` must be over."""
        self._socket.close()

    def _take(self, packet: bytes) -> None:
        try:
            datagram = decode(packet)
        except ChannelError:
            self.drops["bad_header"] += 1
            return
        handler = self._handler_for(datagram)
        if handler is None:
            self.drops["no_service"] += 1
            return
        for answer in self._call(handler, datagram):
            self.send(answer)

    def _handler_for(self, datagram: Datagram) -> Handler | None:
        port = datagram.destination_port
        return self._handlers.get((datagram.destination, port)) or self._handlers.get((None, port))

    def _call(self, handler: Handler, datagram: Datagram) -> Iterable[Datagram]:
        try:
            return list(handler(datagram))
        except Exception:
            self.drops["service_failed"] += 1
            if handler not in self._failed:
                self._failed.add(handler)
                logger.exception("the service at port %d failed", datagram.destination_port)
            return ()


def _address(packed: bytes) -> Address:
    address = IPv6Address(packed)
    return address.ipv4_mapped or address


def _packed(address: Address) -> bytes:
    return address.packed if address.version == 6 else _MAPPED + address.packed
