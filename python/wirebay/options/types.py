"""The options of each kind of port, read and checked. One dataclass per netdev type.

Field names are QEMU's option names with `_` for `-`; what QEMU computes by default is filled in already.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Literal

from wirebay.options.link_types import (
    BessOptions,
    BridgeOptions,
    DgramOptions,
    FdAddr,
    InetAddr,
    L2tpv3Options,
    SocketOptions,
    StdioOptions,
    StreamOptions,
    TapOptions,
    UnixAddr,
    VdeOptions,
    VfkitOptions,
    VhostUserOptions,
    VxlanOptions,
)

__all__ = [
    "Address",
    "BessOptions",
    "BridgeOptions",
    "CommandTarget",
    "DgramOptions",
    "DhcpHost",
    "FdAddr",
    "GuestForward",
    "HostForward",
    "HubportOptions",
    "InetAddr",
    "InetTarget",
    "L2tpv3Options",
    "Netdev",
    "Plan4",
    "Plan6",
    "SocketOptions",
    "StdioOptions",
    "StreamOptions",
    "SwitchportOptions",
    "TapOptions",
    "UnixAddr",
    "UnixTarget",
    "UserOptions",
    "VdeOptions",
    "VfkitOptions",
    "VhostUserOptions",
    "VxlanOptions",
]

Address = IPv4Address | IPv6Address


@dataclass(frozen=True, kw_only=True, slots=True)
class HostForward:
    """A host port, or `ports` of them in a row, that lead to as many guest ports (`hostfwd=`).

    `host_addr` is an address (0.0.0.0: every IPv4 address of the host), a name still to be resolved, or with
    `proto` unix the path of a socket, and `host_port` is 0. Else `host_port` 0 lets the kernel choose.
    `guest_addr` None is the address the DHCP server gives out first. `interface` binds to an interface of the
    host. `proxy_in` and `proxy_out`: the client begins with a PROXY header, the guest gets one. `text` is the
    rule as it was written.
    """

    proto: Literal["tcp", "udp", "unix"]
    host_addr: Address | str
    host_port: int
    guest_addr: Address | str | None
    guest_port: int
    text: str
    ports: int = 1
    interface: str | None = None
    proxy_in: bool = False
    proxy_out: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class CommandTarget:
    """A command, in words as a shell splits them; run for each connection, which is its input and output."""

    command: str


@dataclass(frozen=True, kw_only=True, slots=True)
class UnixTarget:
    """A unix socket, a stream or datagram one as the rule says."""

    path: str


@dataclass(frozen=True, kw_only=True, slots=True)
class InetTarget:
    """A server; `host` is an address or a name that is resolved for each connection."""

    host: str
    port: int


@dataclass(frozen=True, kw_only=True, slots=True)
class GuestForward:
    """A place in the guest's network that leads to a server, a socket or a command here (`guestfwd=`).

    `server` is an address of the network that is neither its host's nor its DNS server's, with no other
    rule for the same port and protocol. `text` is the rule as it was written.
    """

    proto: Literal["tcp", "udp"]
    server: Address
    port: int
    target: CommandTarget | UnixTarget | InetTarget
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class DhcpHost:
    """A lease set aside for one card (`dhcp-host=`): `mac` has 6 bytes, `address` is of either family."""

    mac: bytes
    address: Address
    name: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan4:
    """The IPv4 side of a user network (`net=`, `host=`, `dns=`, `dhcpstart=`)."""

    net: IPv4Network
    host: IPv4Address
    dns: IPv4Address
    dhcpstart: IPv4Address


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan6:
    """The IPv6 side of a user network (`ipv6-net=`, `ipv6-host=`, `ipv6-dns=`)."""

    net: IPv6Network
    host: IPv6Address
    dns: IPv6Address


@dataclass(frozen=True, kw_only=True, slots=True)
class UserOptions:
    """`user`: the user network. `ipv4` or `ipv6` None is a network without; one of them is there.

    `smbserver` is filled in where `smb` is given. Ours, beside QEMU's: `mtu` in bytes; `host_loopback`,
    whether `host` leads to the host's 127.0.0.1; `leases`, the file that remembers leases; `dhcp_hosts`,
    leases set aside (`dhcp-host=`); `host_records`, names and addresses for DNS (`host-record=`).
    """

    id: str
    ipv4: Plan4 | None
    ipv6: Plan6 | None
    restrict: bool = False
    hostname: str | None = None
    domainname: str | None = None
    dnssearch: tuple[str, ...] = ()
    tftp: str | None = None
    tftp_server_name: str | None = None
    bootfile: str | None = None
    smb: str | None = None
    smbserver: IPv4Address | None = None
    hostfwd: tuple[HostForward, ...] = ()
    guestfwd: tuple[GuestForward, ...] = ()
    mtu: int = 1500
    host_loopback: bool = True
    leases: str | None = None
    dhcp_hosts: tuple[DhcpHost, ...] = ()
    host_records: tuple[tuple[str, Address], ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class HubportOptions:
    """`hubport`: a place on hub `hubid`, for the port named `netdev`."""

    id: str
    hubid: int
    netdev: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class SwitchportOptions:
    """`switchport`, ours: a place on the switch called `switch`, for the port named `netdev`.

    `vlan` is the VLAN of untagged frames, `trunk` the ranges (first, last) of those carried tagged.
    """

    id: str
    switch: str
    netdev: str | None = None
    vlan: int | None = None
    trunk: tuple[tuple[int, int], ...] | None = None
    isolated: bool = False


Netdev = (
    BessOptions
    | BridgeOptions
    | DgramOptions
    | HubportOptions
    | L2tpv3Options
    | SocketOptions
    | StdioOptions
    | StreamOptions
    | SwitchportOptions
    | TapOptions
    | UserOptions
    | VdeOptions
    | VfkitOptions
    | VhostUserOptions
    | VxlanOptions
)
