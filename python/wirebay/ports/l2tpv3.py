"""l2tpv3: an L2TPv3 tunnel with a fixed session (RFC 3931), over UDP or directly over IP."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from wirebay.errors import HostError
from wirebay.options.link_types import InetAddr, L2tpv3Options
from wirebay.ports.dgram import DatagramPort
from wirebay.ports.dgram_sockets import InetName, Sockets, bound, connect, text_of
from wirebay.ports.sockets import closing_on_error, resolve

if TYPE_CHECKING:
    from wirebay.network import Network

PROTOCOL = 115  # RFC 3931 section 4.1.1


class L2tpv3Port(DatagramPort):
    """One end of the tunnel."""

    kind = "l2tpv3"

    def __init__(self, network: Network, options: L2tpv3Options) -> None:
        super().__init__(network, options)
        self.options = options
        self.framing = {"l2tpv3": framing(options)}

    async def _sockets(self) -> Sockets:
        options = self.options
        src = await self._resolve("src", options.src, options.srcport)
        dst = await self._resolve("dst", options.dst, options.dstport)
        sock = self._bound(src)
        with closing_on_error(sock):
            connect(sock, dst)
        if not options.udp:
            return Sockets(receiver=sock, address=f"over ip from {src[0]} to {dst[0]}")
        return Sockets(
            receiver=sock, address=f"over udp from {text_of(sock.getsockname())} to {text_of(dst)}"
        )

    async def _resolve(self, option: str, host: str, port: str | None) -> InetName:
        is_v6 = self.options.ipv6
        addr = InetAddr(
            host=host, port=(port or "0") if self.options.udp else "0", ipv4=not is_v6, ipv6=is_v6
        )
        try:
            return (await resolve(addr, 0, socket.SOCK_DGRAM))[0][1]
        except HostError as error:
            cause = error.__cause__
            reason = cause.strerror if isinstance(cause, OSError) else error
            raise HostError(f"could not resolve {option}, error = {reason}") from error

    def _bound(self, src: InetName) -> socket.socket:
        family = socket.AF_INET6 if self.options.ipv6 else socket.AF_INET
        if self.options.udp:
            return bound(family, src)
        try:
            return bound(family, src, socket.SOCK_RAW, PROTOCOL)
        except HostError as error:
            if not isinstance(error.__cause__, PermissionError):
                raise
            sentence = "l2tpv3 directly over IP takes a raw socket, and so root or CAP_NET_RAW; use udp=on"
            raise HostError(sentence) from error


def framing(options: L2tpv3Options) -> dict[str, object]:
    """The members of the framing `l2tpv3` (docs/protocol.md)."""
    return {
        "udp": options.udp,
        # Linux gives the IP header to raw sockets of IPv4 (raw(7)) and not of IPv6 (RFC 3542 section 3).
        "ip_header": not options.udp and not options.ipv6,
        "tx_session": options.txsession,
        "rx_session": options.rxsession,
        "tx_cookie": options.txcookie,
        "rx_cookie": options.rxcookie,
        "cookie64": options.cookie64,
        "counter": options.counter,
        "pin_counter": options.pincounter,
        "offset": options.offset,
    }
