"""`-netdev passt`: passt's options on our own user network; no other program is run.

What passt calls by another name is read as what `user` has: `address` and `netmask` are the network and the
first address given out, `gateway` is `host`, `dns-forward` is `dns`, `tcp-ports` and `udp-ports` are
`hostfwd`. What has no counterpart is refused by name, and so is switching off what the user network always
does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import IPv4Interface

from wirebay.errors import OptionError
from wirebay.options.reader import ObjectReader, Reader, not_served
from wirebay.options.types import UserOptions
from wirebay.options.user import read_user

TEXTS = ("path", "address", "netmask", "gateway", "dns-forward", "fqdn", "map-host-loopback")
LISTS = ("search", "tcp-ports", "udp-ports")
SWITCHES = ("quiet", "ipv4", "ipv6")
# On is what happens anyway; off cannot be had.
ALWAYS_ON = ("tcp", "udp", "icmp", "dhcp", "ndp", "dhcpv6", "ra", "dhcp-dns", "dhcp-search")
ALWAYS_OFF = ("vhost-user", "freebind")
SERVED = (*TEXTS, *LISTS, *SWITCHES, *ALWAYS_ON, *ALWAYS_OFF, "mtu")
NOT_SERVED = (
    "mac", "interface", "outbound", "outbound-if4", "outbound-if6", "dns", "dns-host", "map-guest-addr",
    "param",
)  # fmt: skip

MAX_SPECS = 1024
# [ADDRESS[%INTERFACE]/][FIRST[-LAST][:FIRST[-LAST]]], several with commas.
_SPEC = re.compile(r"(?:([^/]*)/)?(\d+)(?:-(\d+))?(?::(\d+)(?:-(\d+))?)?")


def read_passt(ident: str, reader: Reader) -> UserOptions:
    """Read the options of `passt`, as those of the user network. Raises OptionError."""
    reader.refuse(NOT_SERVED, "passt")
    _check_switches(reader)
    texts = {name: reader.string(name) for name in TEXTS}
    lists = {name: reader.strings(name) for name in LISTS}
    mtu, ipv4, ipv6 = reader.integer("mtu", "int64_t"), reader.boolean("ipv4"), reader.boolean("ipv6")
    reader.boolean("quiet")
    reader.finish()
    ours: dict[str, object] = {"mtu": mtu, "ipv4": ipv4, "ipv6": ipv6, "host": texts["gateway"]}
    ours |= _network(texts["address"], texts["netmask"]) | _names(texts["fqdn"])
    ours |= {"dns": texts["dns-forward"], "dnssearch": lists["search"], "host-loopback": _loopback(texts)}
    rules = [rule for proto in ("tcp", "udp") for rule in _forwards(proto, lists[f"{proto}-ports"])]
    return read_user(ident, ObjectReader({**ours, "hostfwd": rules}))


def _check_switches(reader: Reader) -> None:
    for name in ALWAYS_ON:
        if reader.boolean(name) is False:
            raise not_served(f"option '{name}=off' of the passt network")
    if reader.boolean("vhost-user"):
        raise OptionError("option 'vhost-user=on' of the passt network: join a vhost-user and a user network")
    if reader.boolean("freebind"):
        raise not_served("option 'freebind=on' of the passt network")


def _network(address: str | None, netmask: str | None) -> dict[str, object]:
    """The network that a guest address lies in, of 256 addresses if nobody says more."""
    if address is None:
        if netmask is not None:
            raise OptionError("Parameter 'netmask' of the passt network needs 'address'")
        return {}
    try:
        interface = IPv4Interface(f"{address}/{netmask or 24}")
    except ValueError:
        raise OptionError(
            f"Parameter 'address' expects an IPv4 address, and 'netmask' its mask: {address}"
        ) from None
    return {"net": str(interface.network), "dhcpstart": str(interface.ip)}


def _names(fqdn: str | None) -> dict[str, object]:
    if fqdn is None:
        return {}
    host, _, domain = fqdn.partition(".")
    return {"hostname": host, "domainname": domain or None}


def _loopback(texts: dict[str, str | None]) -> bool | None:
    """Whether the gateway's address leads to this host's loopback: the only address that does here."""
    wanted = texts["map-host-loopback"]
    if wanted is None:
        return None
    if wanted == "none":
        return False
    if wanted != texts["gateway"]:
        raise OptionError(
            f"map-host-loopback={wanted}: only the address given as gateway= leads to this host"
        )
    return True


def _forwards(proto: str, specs: list[str]) -> Iterator[str]:
    """The port specifications of passt's -t and -u, as rules for `hostfwd`."""
    words = [word for spec in specs for word in spec.split(",") if word != "none"]
    if len(words) > MAX_SPECS:
        raise OptionError(f"Parameter '{proto}-ports' has more than {MAX_SPECS} parts")
    for word in words:
        match = _SPEC.fullmatch(word)
        if match is None:
            raise OptionError(
                f"Parameter '{proto}-ports' expects [ADDRESS/]PORT[-PORT][:PORT[-PORT]], '{word}' is none"
            )
        address, first, last, guest, guest_last = match.groups()
        last, guest = last or first, guest or first
        if guest_last is not None and int(guest_last) - int(guest) != int(last) - int(first):
            raise OptionError(f"Parameter '{proto}-ports': the ranges of '{word}' are not of one length")
        host = f"[{address}]" if ":" in (address or "") else address or ""
        ports = first if last == first else f"{first}..{last}"
        yield f"{proto}:{host}:{ports}-:{guest}"
