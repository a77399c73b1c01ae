"""`-netdev help` and `-netdev TYPE,help`: the types, and what each takes.

The list of types is written as QEMU writes it. The list of a type's options is ours (QEMU has none), in the
form of QEMU's `-device TYPE,help`.
"""

from __future__ import annotations

from collections.abc import Mapping

from wirebay.errors import OptionError
from wirebay.options.grammar import parse_pairs

WORDS = ("help", "?")

ADDRESS = {
    "{}.type": "inet, unix or fd",
    "{}.host": "inet: name or address",
    "{}.port": "inet: port or service name",
    "{}.path": "unix: path of the socket",
    "{}.abstract": "unix: the name is in Linux's abstract namespace (default: off)",
    "{}.str": "fd: number of an inherited descriptor",
}


def _address(name: str) -> dict[str, str]:
    return {option.format(name): text for option, text in ADDRESS.items()}


# By type: its options, each with what it takes and means.
OPTIONS: Mapping[str, Mapping[str, str]] = {
    "bess": {
        "path": "path of a SOCK_SEQPACKET unix socket",
        "server": "listen instead of connecting (default: off)",
        "reconnect-ms": "milliseconds until a lost peer is looked for again (default: 0, never)",
    },
    "bridge": {
        "br": "bridge to join (default: br0)",
        "helper": "program that makes the TAP (default: /usr/lib/qemu/qemu-bridge-helper)",
    },
    "dgram": {**_address("local"), **_address("remote")},
    "hubport": {"hubid": "number of the hub", "netdev": "id of the port to plug in"},
    "l2tpv3": {
        "src": "our address",
        "dst": "the peer's address",
        "srcport": "our UDP port",
        "dstport": "the peer's UDP port",
        "ipv6": "use IPv6 (default: off)",
        "udp": "over UDP; else over IP, as root (default: off)",
        "txsession": "number of the session we send in",
        "rxsession": "number of the session we receive in (default: txsession)",
        "txcookie": "cookie we send",
        "rxcookie": "cookie we expect",
        "cookie64": "cookies have 64 bits (default: off)",
        "counter": "send a counter (default: off)",
        "pincounter": "the counter stays 0 (default: off)",
        "offset": "bytes between header and frame (default: 0)",
    },
    "passt": {
        "address": "address of the guest",
        "netmask": "mask of its network (default: 24)",
        "gateway": "address of the gateway",
        "dns-forward": "address of the DNS server",
        "fqdn": "name of the guest",
        "search": "search domain; may be repeated",
        "tcp-ports": "TCP ports to forward; may be repeated",
        "udp-ports": "UDP ports to forward; may be repeated",
        "map-host-loopback": "address of this host's loopback: that of gateway, or none",
        "mtu": "MTU in bytes (default: 1500)",
        "ipv4": "use IPv4 (default: on)",
        "ipv6": "use IPv6 (default: on)",
    },
    "socket": {
        "fd": "number of an inherited socket",
        "listen": "[host]:port to listen on",
        "connect": "host:port to connect to",
        "mcast": "maddr:port of a multicast group",
        "udp": "host:port of the peer",
        "localaddr": "host:port of ours (udp), address of an interface (mcast)",
    },
    "stdio": {"framing": "qemu or vpnkit (default: qemu)"},
    "stream": {
        "server": "listen instead of connecting (default: off)",
        **_address("addr"),
        "addr.to": "inet: last port a server tries",
        "reconnect-ms": "milliseconds until a lost peer is looked for again (default: 0, never)",
        "max-peers": "peers a server takes at the same time, each on a port of its own (default: 1)",
    },
    "switchport": {
        "switch": "name of the switch",
        "netdev": "id of the port to plug in",
        "vlan": "VLAN of untagged frames",
        "trunk": "VLANs carried tagged, as 10:20:100-199",
        "isolated": "reach only ports that are not isolated (default: off)",
    },
    "tap": {
        "ifname": "name of the interface (default: the kernel chooses)",
        "netns": "path of the network namespace it is in",
        "fd": "number of an inherited TAP",
        "fds": "the same",
        "vnet_hdr": "offloads (default: as the kernel can)",
        "script": "program that configures it (default: /etc/qemu-ifup, if there is one)",
        "downscript": "program that undoes that (default: /etc/qemu-ifdown, if there is one)",
        "helper": "program that makes a TAP on a bridge",
        "br": "bridge for the helper (default: br0)",
        "sndbuf": "bytes the kernel may queue (default: no limit)",
        "queues": "1",
    },
    "user": {
        "net": "IPv4 network (default: 10.0.2.0/24)",
        "host": "address of the gateway and of this host (default: .2)",
        "dns": "address of the DNS server (default: .3)",
        "dhcpstart": "first address given out (default: .15)",
        "ipv4": "use IPv4 (default: on)",
        "ipv6": "use IPv6 (default: on)",
        "ipv6-net": "IPv6 network (default: fec0::/64)",
        "ipv6-prefix": "the same, without its length",
        "ipv6-prefixlen": "its length",
        "ipv6-host": "IPv6 address of the gateway (default: ::2)",
        "ipv6-dns": "IPv6 address of the DNS server (default: ::3)",
        "restrict": "let nothing out (default: off)",
        "hostname": "name of the guest",
        "domainname": "domain of the guest",
        "dnssearch": "search domain; may be repeated",
        "tftp": "directory to serve by TFTP",
        "tftp-server-name": "name of the TFTP server",
        "bootfile": "file to boot",
        "smb": "directory to share by SMB",
        "smbserver": "address of the SMB server (default: .4)",
        "hostfwd": "rule that lets connections in; may be repeated",
        "guestfwd": "rule that makes a server inside; may be repeated",
        "mtu": "MTU in bytes (default: 1500)",
        "host-loopback": "the gateway's address leads to this host (default: on)",
        "leases": "file that keeps DHCP leases",
        "dhcp-host": "address for a MAC address; may be repeated",
        "host-record": "name for the DNS server; may be repeated",
    },
    "vde": {
        "sock": "directory of the switch",
        "port": "number of the port (default: 0, any)",
        "group": "group of our socket",
        "mode": "mode of our socket (default: 0700)",
        "server": "be a switch that clients find (default: off)",
        "reconnect-ms": "milliseconds until a lost switch is looked for again (default: 0, never)",
        "max-peers": "most clients of a server (default: 32)",
    },
    "vfkit": {"path": "path of a unix datagram socket"},
    "vhost-user": {
        "path": "path of the unix socket of the VMM's chardev",
        "server": "listen instead of connecting (default: on)",
        "offloads": "give the guest super-segments (default: on)",
        "reconnect-ms": "milliseconds until a lost VMM is looked for again (default: 0, never)",
    },
    "vxlan": {
        "vni": "number of the segment",
        "remote": "host of the segment, HOST[:PORT]; may be repeated",
        "local": "our address (default: any)",
        "port": "UDP port (default: 4789)",
    },
}


def help_for(text: str) -> str | None:
    """What to print for the argument of `-netdev`, None if it does not ask for help.

    Raises OptionError for a type that there is not.
    """
    if text in WORDS:
        return "\n".join(["Available netdev backend types:", *OPTIONS])
    pairs = parse_pairs(text, warn=False)
    if not any(key in WORDS for key, _ in pairs):
        return None
    kind = next((value for key, value in pairs if key == "type"), "")
    if kind not in OPTIONS:
        raise OptionError(f"Parameter 'type' does not accept value '{kind}'")
    width = max(map(len, OPTIONS[kind]))
    lines = [f"  {name:<{width}}  - {meaning}" for name, meaning in OPTIONS[kind].items()]
    return "\n".join([f"{kind} options:", f"  {'id':<{width}}  - name of the port", *lines])
