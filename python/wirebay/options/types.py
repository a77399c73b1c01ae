"""The options of each kind of port, read and checked. One dataclass per netdev type.

Field names are QEMU's option names with `_` for `-`; what QEMU computes by default is filled in already.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address
from typing import Literal

Address = IPv4Address | IPv6Address


@dataclass(frozen=True, kw_only=True, slots=True)
class HostForward:
    """A host port that leads to a guest port (`hostfwd=`).

    `host_addr` 0.0.0.0 is every address of the host, `host_port` 0 lets the kernel choose, `guest_addr` None
    is the address the DHCP server gives out first. `text` is the rule as it was written.
    """

    proto: Literal["tcp", "udp"]
    host_addr: IPv4Address
    host_port: int
    guest_addr: IPv4Address | None
    guest_port: int
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class UserOptions:
    """`user`: the user network.

    Ours, beside QEMU's: `mtu` in bytes, and `host_loopback`, whether `host` leads to the host's 127.0.0.1.
    """

    id: str
    net: IPv4Network
    host: IPv4Address
    dns: IPv4Address
    dhcpstart: IPv4Address
    hostname: str | None = None
    restrict: bool = False
    hostfwd: tuple[HostForward, ...] = ()
    mtu: int = 1500
    host_loopback: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class InetAddr:
    """`addr.type=inet`. `port` may be a service name; `to` is the last port a server tries."""

    host: str
    port: str
    ipv4: bool | None = None
    ipv6: bool | None = None
    keep_alive: bool = False
    numeric: bool = False
    to: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class UnixAddr:
    """`addr.type=unix`. `abstract` puts the name in Linux's abstract namespace, padded unless `tight`."""

    path: str
    abstract: bool = False
    tight: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class FdAddr:
    """`addr.type=fd`. `fd` is the number of an inherited descriptor (`addr.str=`)."""

    fd: str


@dataclass(frozen=True, kw_only=True, slots=True)
class StreamOptions:
    """`stream`: frames over a stream socket. `reconnect_ms` 0 means never."""

    id: str
    server: bool
    addr: InetAddr | UnixAddr | FdAddr
    reconnect_ms: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class TapOptions:
    """`tap`. `netns` is ours: the path of the network namespace to open the TAP in, such as /proc/PID/ns/net.

    `ifname` None lets the kernel choose; `vnet_hdr` None uses offloads where the kernel has them.
    """

    id: str
    ifname: str | None = None
    fd: int | None = None
    netns: str | None = None
    vnet_hdr: bool | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class HubportOptions:
    """`hubport`: a place on hub `hubid`, for the port named `netdev`."""

    id: str
    hubid: int
    netdev: str | None = None


Netdev = UserOptions | StreamOptions | TapOptions | HubportOptions
