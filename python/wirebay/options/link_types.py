"""The options of the ports that reach others over sockets and devices; one dataclass per netdev type.

Field names are QEMU's option names with `_` for `-`; what QEMU computes by default is filled in already.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


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


SocketAddr = InetAddr | UnixAddr | FdAddr


@dataclass(frozen=True, kw_only=True, slots=True)
class StreamOptions:
    """`stream`: frames over a stream socket.

    `reconnect_ms` 0 means never. Ours: `max_peers`, how many peers a server takes at the same time. With one
    the port is its peer's, as in QEMU; with more, each peer gets a port of its own.
    """

    id: str
    server: bool
    addr: SocketAddr
    reconnect_ms: int = 0
    max_peers: int = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class DgramOptions:
    """`dgram`: a frame in each datagram; `remote` may be a multicast group, and is None for a descriptor."""

    id: str
    local: SocketAddr | None = None
    remote: InetAddr | UnixAddr | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class SocketOptions:
    """`socket`, the older spelling of both: exactly one of `fd`, `listen`, `connect`, `mcast` and `udp`.

    `localaddr` is where `udp` is bound, or the address of the interface on which `mcast` is heard (port "").
    """

    id: str
    fd: FdAddr | None = None
    listen: InetAddr | None = None
    connect: InetAddr | None = None
    mcast: InetAddr | None = None
    udp: InetAddr | None = None
    localaddr: InetAddr | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class L2tpv3Options:
    """`l2tpv3`: an L2TPv3 tunnel without control channel (RFC 3931), over UDP or directly over IP.

    `offset` is the number of zero bytes between header and frame.
    """

    id: str
    src: str
    dst: str
    srcport: str | None = None
    dstport: str | None = None
    ipv6: bool = False
    udp: bool = False
    txsession: int
    rxsession: int
    txcookie: int | None = None
    rxcookie: int | None = None
    cookie64: bool = False
    counter: bool = False
    pincounter: bool = False
    offset: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class VxlanOptions:
    """`vxlan`, ours: a VXLAN segment (RFC 7348) shared with the hosts in `remote` (address and port)."""

    id: str
    vni: int
    remote: tuple[InetAddr, ...]
    local: InetAddr


@dataclass(frozen=True, kw_only=True, slots=True)
class VdeOptions:
    """`vde`: a port of a VDE switch, or with `server`, which is ours, a switch that VDE clients find.

    `sock` is the directory of the switch ("": one of the usual places), `port` the number of the port to ask
    for (0: any), `group` and `mode` whom the port is for. Ours: `reconnect_ms`, and `max_peers`, the most
    clients of a server.
    """

    id: str
    sock: str = ""
    port: int = 0
    group: str | None = None
    mode: int = 0o700
    server: bool = False
    reconnect_ms: int = 0
    max_peers: int = 32


@dataclass(frozen=True, kw_only=True, slots=True)
class VfkitOptions:
    """`vfkit`, ours: a unix datagram socket on which vfkit, krunkit and their like bring their frames."""

    id: str
    path: str


@dataclass(frozen=True, kw_only=True, slots=True)
class BessOptions:
    """`bess`, ours: a frame in each packet of a SOCK_SEQPACKET unix socket."""

    id: str
    path: str
    server: bool = False
    reconnect_ms: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class StdioOptions:
    """`stdio`, ours: frames over standard input and output, behind a length as QEMU or VPNKit has it."""

    id: str
    framing: Literal["qemu", "vpnkit"] = "qemu"


@dataclass(frozen=True, kw_only=True, slots=True)
class VhostUserOptions:
    """`vhost-user`: a guest's rings in shared memory, over the unix socket `path`.

    Without `offloads` the guest gets plain frames only. `reconnect_ms` 0 means never.
    """

    id: str
    path: str
    server: bool = True
    offloads: bool = True
    reconnect_ms: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class TapOptions:
    """`tap`. `netns` is ours: the path of the network namespace to open the TAP in, such as /proc/PID/ns/net.

    `ifname` None lets the kernel choose; `vnet_hdr` None uses offloads where the kernel has them. `script`
    and `downscript` are "" for none and None for QEMU's, where they exist. `helper` is a program that brings
    a TAP on bridge `br`. `sndbuf` is in bytes; 0 is as much as there can be.
    """

    id: str
    ifname: str | None = None
    fd: int | None = None
    netns: str | None = None
    vnet_hdr: bool | None = None
    script: str | None = None
    downscript: str | None = None
    helper: str | None = None
    br: str = "br0"
    sndbuf: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class BridgeOptions:
    """`bridge`: a TAP on bridge `br` of the host, brought by the program `helper`."""

    id: str
    br: str = "br0"
    helper: str = "/usr/lib/qemu/qemu-bridge-helper"
