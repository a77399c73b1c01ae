"""Configuring an interface of the current network namespace, by the ioctls of netdevice(7) and route(7).

Seven requests are all that an IPv4 guest needs, and three messages of netlink are what those cannot say. A
library for netlink would cost more start-up time than the whole command may take.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface
from typing import Self

from wirebay.errors import HostError, OptionError

__all__ = ["GuestConfig", "configure_guest", "configure_interface", "configure_ipv6", "raise_loopback"]

# linux/sockios.h, linux/if.h, linux/route.h
SIOCADDRT = 0x890B
SIOCGIFFLAGS, SIOCSIFFLAGS = 0x8913, 0x8914
SIOCSIFADDR, SIOCSIFNETMASK = 0x8916, 0x891C
SIOCSIFMTU = 0x8922
IFF_UP = 0x1
RTF_UP, RTF_GATEWAY = 0x1, 0x2
# linux/netlink.h, linux/rtnetlink.h, linux/if_link.h, linux/if_addr.h
RTM_NEWLINK, RTM_NEWADDR, RTM_NEWROUTE = 16, 20, 24
NLM_F_REQUEST, NLM_F_ACK, NLM_F_CREATE = 0x1, 0x4, 0x400
IFLA_TXQLEN, IFA_ADDRESS, RTA_OIF, RTA_GATEWAY = 13, 1, 4, 5
IFA_F_NODAD = 0x2
RT_TABLE_MAIN, RTPROT_STATIC, RTN_UNICAST = 254, 4, 1

# The kernel's queue towards us. At the default of 1000 a sender that is faster than we are loses frames
# when we are away for a few milliseconds, and TCP takes that for a congested path.
TX_QUEUE_LENGTH = 10000
ANY = IPv4Address(0)

_SOCKADDR_IN = struct.Struct("=H2s4s8x")
_IFREQ_INT = struct.Struct("16si20x")
_IFREQ_FLAGS = struct.Struct("16sH22x")
_IFREQ_ADDRESS = struct.Struct("16s16s8x")
# struct rtentry: pad, destination, gateway, netmask, flags, and twelve fields we leave at zero
_RTENTRY = struct.Struct("@L16s16s16sHhLPhPLLH0L")
# nlmsghdr and the head of an attribute; ifinfomsg, ifaddrmsg, rtmsg; nlmsghdr and nlmsgerr of an answer
_HEADER, _ATTRIBUTE = struct.Struct("=IHHII"), struct.Struct("=HH")
_LINK, _ADDRESS, _ROUTE = struct.Struct("=BxHiII"), struct.Struct("=BBBBI"), struct.Struct("=BBBBBBBBI")
_ANSWER = struct.Struct("=IHHII i")


@dataclass(frozen=True, kw_only=True, slots=True)
class GuestConfig:
    """What a guest that is a namespace gets instead of a DHCP lease.

    `address` carries the netmask, `gateway` is where its default route leads; `address6` and `gateway6` are
    the same for IPv6. One family may be missing. `dns` is its name server, `search` its search domains; `mtu`
    is in bytes.
    """

    address: IPv4Interface | None
    gateway: IPv4Address | None
    dns: IPv4Address | IPv6Address
    search: tuple[str, ...] = ()
    mtu: int = 1500
    ifname: str = "tap0"
    address6: IPv6Interface | None = None
    gateway6: IPv6Address | None = None


def configure_guest(guest: GuestConfig) -> None:
    """Bring up the loopback and the guest's interface, with its default route, in the current namespace.

    A kernel without IPv6, or with IPv6 switched off, is left so where there is IPv4. Raises HostError, or
    OptionError where an option is what the kernel refused.
    """
    raise_loopback()
    configure_interface(guest.ifname, guest.address, guest.gateway, guest.mtu)
    if guest.address6 and guest.gateway6:
        code = configure_ipv6(guest.ifname, guest.address6, guest.gateway6)
        if code and guest.address is None:
            reason = os.strerror(code)
            raise HostError(f"{guest.ifname} could not be given the address {guest.address6}: {reason}")


def raise_loopback() -> None:
    """Bring `lo` up, with the address that the kernel gives it. Raises HostError."""
    with _Control("lo") as lo:
        lo.up()


def configure_interface(
    ifname: str, address: IPv4Interface | None, gateway: IPv4Address | None, mtu: int
) -> None:
    """Give `ifname` its MTU (bytes), queue length and address, bring it up and route everything over
    `gateway`; the address and the gateway where there are any.

    Raises HostError, or OptionError for an MTU the device cannot have.
    """
    with _Control(ifname) as interface:
        interface.set_mtu(mtu)
        interface.set_queue_length(TX_QUEUE_LENGTH)
        if address:
            interface.set_address(address)
        interface.up()
        if gateway:
            interface.add_default_route(gateway)


def configure_ipv6(ifname: str, address: IPv6Interface, gateway: IPv6Address) -> int:
    """Give `ifname` an IPv6 address that may be used at once, and a default route.

    The kernel makes itself an address from the router's advertisements too, but needs seconds for it: it asks
    first whether anybody has the address. Returns the error number of what the kernel refused, or 0.
    """
    index = socket.if_nametoindex(ifname)
    own = _ADDRESS.pack(socket.AF_INET6, address.network.prefixlen, IFA_F_NODAD, 0, index)
    route = _ROUTE.pack(socket.AF_INET6, 0, 0, 0, RT_TABLE_MAIN, RTPROT_STATIC, 0, RTN_UNICAST, 0)
    over = (RTA_GATEWAY, gateway.packed), (RTA_OIF, struct.pack("=I", index))
    code = _tell_kernel(RTM_NEWADDR, own, (IFA_ADDRESS, address.packed))
    return code or _tell_kernel(RTM_NEWROUTE, route, *over)


def _tell_kernel(kind: int, body: bytes, *attributes: tuple[int, bytes]) -> int:
    """Send one request over netlink; returns the error number, 0 when it was carried out."""
    for number, value in attributes:
        body += _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), number) + value
    flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as netlink:
        netlink.send(_HEADER.pack(_HEADER.size + len(body), kind, flags, 0, 0) + body)
        code: int = -_ANSWER.unpack_from(netlink.recv(4096))[-1]
    return code


class _Control:
    """The socket that carries ioctls for one interface; which one it is stands in each request."""

    def __init__(self, ifname: str) -> None:
        self._ifname = ifname
        self._name = ifname.encode()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def set_mtu(self, mtu: int) -> None:
        try:
            fcntl.ioctl(self._socket, SIOCSIFMTU, _IFREQ_INT.pack(self._name, mtu))
        except OSError as error:
            if error.errno == errno.EINVAL:
                raise OptionError(f"mtu: {self._ifname} cannot have an MTU of {mtu} bytes") from error
            raise self._refused("the MTU", error) from error

    def set_queue_length(self, frames: int) -> None:
        """In frames, as `ip link set txqueuelen`; by netlink, see above."""
        link = _LINK.pack(socket.AF_UNSPEC, 0, socket.if_nametoindex(self._ifname), 0, 0)
        code = _tell_kernel(RTM_NEWLINK, link, (IFLA_TXQLEN, struct.pack("=I", frames)))
        if code:
            raise self._refused("the queue length", OSError(code, os.strerror(code)))

    def set_address(self, address: IPv4Interface) -> None:
        for request, value in (SIOCSIFADDR, address.ip), (SIOCSIFNETMASK, address.netmask):
            self._request(
                request, _IFREQ_ADDRESS.pack(self._name, _sockaddr(value)), f"the address {address}"
            )

    def up(self) -> None:
        answer = self._request(SIOCGIFFLAGS, _IFREQ_FLAGS.pack(self._name, 0), "the state up")
        flags = _IFREQ_FLAGS.unpack(answer)[1] | IFF_UP
        self._request(SIOCSIFFLAGS, _IFREQ_FLAGS.pack(self._name, flags), "the state up")

    def add_default_route(self, gateway: IPv4Address) -> None:
        any_address = _sockaddr(ANY)
        route = _RTENTRY.pack(
            0, any_address, _sockaddr(gateway), any_address, RTF_UP | RTF_GATEWAY, 0, 0, 0, 0, 0, 0, 0, 0
        )
        self._request(SIOCADDRT, route, f"the default route over {gateway}")

    def _request(self, request: int, argument: bytes, what: str) -> bytes:
        try:
            return fcntl.ioctl(self._socket, request, argument)
        except OSError as error:
            raise self._refused(what, error) from error

    def _refused(self, what: str, error: OSError) -> HostError:
        return HostError(f"{self._ifname} could not be given {what}: {error.strerror}")


def _sockaddr(address: IPv4Address) -> bytes:
    return _SOCKADDR_IN.pack(socket.AF_INET, b"", address.packed)
