"""The names that the user network itself knows: its host, its guests, and those that were configured.

A name is answered as it is and with any of the domains behind it: `wirebay.internal`, which is always ours
(the top `internal` is set aside for private use), and those of `domainname=` and `dnssearch=`. Below
`wirebay.internal`, and for the addresses of the network itself, there is nobody else to ask, so what is not
known there does not exist. The other domains may well be real ones with names of their own, as they are in
QEMU, so what is not known below them is asked for outside as long as there is somebody to ask.

Where two have a name, the configured one comes first, then `host` and `gateway`, then the guests: a guest
must not take a name over by calling itself that. Of what a guest calls itself the first label counts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from wirebay.options.types import Address

__all__ = ["OWN_DOMAIN", "Guests", "LocalNames", "reverse_address", "reverse_name"]

OWN_DOMAIN = "wirebay.internal"
HOST_NAMES = ("host", "gateway")
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")

Guests = Callable[[], Mapping[str, Iterable[Address]]]


class LocalNames:
    """Names and addresses, both ways. Names are text in any case, without the dot at the end.

    `host` are the network's addresses of this host, `networks` those it has its guests in, `domains` what
    `domainname=` and `dnssearch=` give, `records` the configured names, and `guests()` the names that guests
    gave to the DHCP servers.
    """

    def __init__(
        self,
        *,
        host: Iterable[Address],
        networks: Iterable[IPv4Network | IPv6Network],
        guests: Guests,
        domains: Iterable[str] = (),
        records: Iterable[tuple[str, Address]] = (),
    ) -> None:
        self._networks = tuple(networks)
        self._guests = guests
        named = dict.fromkeys(plain(domain) for domain in domains if plain(domain))
        self._given = tuple(domain for domain in named if domain != OWN_DOMAIN)
        self._fixed: dict[str, tuple[Address, ...]] = {}
        for name, address in records:
            self._fixed[plain(name)] = (*self._fixed.get(plain(name), ()), address)
        for name in HOST_NAMES:
            self._fixed.setdefault(name, tuple(host))

    def addresses(self, name: str) -> tuple[Address, ...] | None:
        """The addresses of `name`, of both families; None when it is not known here."""
        short = plain(name)
        for candidate in (short, *self._without_domain(short)):
            if (found := self._fixed.get(candidate) or self._guest(candidate)) is not None:
                return found
        return None

    def name_of(self, address: Address) -> str | None:
        """The full name of `address`; None when it has none here."""
        for names in (self._fixed, self._guest_names()):
            for name, addresses in names.items():
                if address in addresses:
                    return self._full(name)
        return None

    def is_ours(self, name: str) -> bool:
        """Is there nobody outside who could know `name`?"""
        short = plain(name)
        address = reverse_address(short)
        if address is not None:
            return any(address in network for network in self._networks)
        return short == OWN_DOMAIN or short.endswith(f".{OWN_DOMAIN}")

    def is_local(self, name: str) -> bool:
        """Is `name` below any of the domains, or ours?"""
        return self.is_ours(name) or bool(self._without_domain(plain(name)))

    def _without_domain(self, name: str) -> list[str]:
        domains = (*self._given, OWN_DOMAIN)
        return [name.removesuffix(f".{domain}") for domain in domains if name.endswith(f".{domain}")]

    def _guest(self, name: str) -> tuple[Address, ...] | None:
        found = self._guest_names().get(name)
        return None if found is None else tuple(found)

    def _guest_names(self) -> dict[str, Iterable[Address]]:
        names: dict[str, Iterable[Address]] = {}
        for name, addresses in self._guests().items():
            label = name.lower().partition(".")[0]
            if _LABEL.fullmatch(label):
                names.setdefault(label, addresses)
        return names

    def _full(self, name: str) -> str:
        if "." in name:
            return name
        return f"{name}.{self._given[0] if self._given else OWN_DOMAIN}"


def plain(name: str) -> str:
    """`name` as names are compared here: lower case, no dot at the end."""
    return name.lower().rstrip(".")


def reverse_name(address: Address) -> str:
    """The name that a PTR record of `address` has (RFC 1035 section 3.5, RFC 3596 section 2.5)."""
    return address.reverse_pointer


def reverse_address(name: str) -> Address | None:
    """The address that `reverse_name` makes `name` of; None for other names."""
    labels = name.split(".")
    if name.endswith(".in-addr.arpa") and len(labels) == 6:
        text = ".".join(reversed(labels[:4]))
    elif name.endswith(".ip6.arpa") and len(labels) == 34:
        digits = "".join(reversed(labels[:32]))
        text = ":".join(digits[start : start + 4] for start in range(0, 32, 4))
    else:
        return None
    try:
        address: IPv4Address | IPv6Address = ip_address(text)
    except ValueError:
        return None
    return address if address.reverse_pointer == name else None
