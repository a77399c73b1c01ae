"""What a DHCPv6 server tells its clients: the settings, and the options they become.

They are told to those who ask in option 6: DNS servers (23), search list (24), and the boot file (59), which
is a URL, made of a plain file name as QEMU makes it. Without a boot file there is none, where QEMU sends
"(null)". A client that boots from HTTP and says so (16) is told the same. Under `restrict` there is no DNS
server.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv6Address, IPv6Network

from wirebay.services.dhcp6_message import Dhcp6Message, Option, OptionPair
from wirebay.services.dhcp_leases import pool_of
from wirebay.services.domain_names import encode_name

LEASE_TIME = 86400  # seconds, as the router advertises its prefix
POOL_START = 0x15  # fec0::15 looks like 10.0.2.15
HTTP_CLIENT = b"HTTPClient"
HTTP_CLASS = b"\0\0\x01\x57\0\x0a" + HTTP_CLIENT  # UEFI 2.10 section 24.7: Intel's number and the word


@dataclass(frozen=True, kw_only=True, slots=True)
class Dhcp6Config:
    """What the server tells its clients.

    `reserved` and `names` are by MAC address (option dhcp-host), `lease_time` is in seconds.
    """

    net: IPv6Network
    host: IPv6Address
    dns: IPv6Address
    search: tuple[str, ...] = ()
    bootfile: str | None = None
    restrict: bool = False
    lease_time: int = LEASE_TIME
    reserved: Mapping[bytes, IPv6Address] = field(default_factory=dict)
    names: Mapping[bytes, str] = field(default_factory=dict)

    def pool(self) -> list[IPv6Address]:
        """The addresses to give away: from ::15 on, in a smaller network all but the first."""
        base, last = int(self.net.network_address), self.net.broadcast_address
        first = base + (POOL_START if base + POOL_START <= int(last) else 1)
        return pool_of(IPv6Address(first), last, {self.host, self.dns, *self.reserved.values()})

    def boot_url(self) -> str | None:
        """The URL of the boot file; a plain file name is one of our TFTP server."""
        if not self.bootfile or "://" in self.bootfile:
            return self.bootfile
        return f"tftp://[{self.host}]/{self.bootfile.removeprefix('/')}"


def settings_for(config: Dhcp6Config, request: Dhcp6Message) -> list[OptionPair]:
    """The options that tell `request` what it asks for."""
    url = config.boot_url()
    settings: dict[int, bytes] = {}
    if not config.restrict:
        settings[Option.DNS] = config.dns.packed
    if config.search:
        settings[Option.SEARCH] = b"".join(map(encode_name, config.search))
    if url:
        settings[Option.BOOT_URL] = os.fsencode(url)
    told: list[OptionPair] = [pair for pair in settings.items() if request.asks_for(pair[0])]
    if url and url.startswith("http") and HTTP_CLIENT in (request.option(Option.VENDOR_CLASS) or b""):
        told.append((Option.VENDOR_CLASS, HTTP_CLASS))
    return told
