"""`dhcp-host=MAC/ADDR[/NAME]`, a lease set aside for one card, and `host-record=NAME=ADDR`, a name for DNS.

Both are ours. Either may be repeated; a card may have a lease of each family.
"""

from __future__ import annotations

from collections.abc import Sequence

from wirebay.errors import OptionError
from wirebay.options.addresses import is_domain_name, is_host_name, parse_ipv4, parse_ipv6, parse_mac
from wirebay.options.guestfwd import is_free
from wirebay.options.types import Address, DhcpHost, Plan4, Plan6


def parse_dhcp_hosts(texts: Sequence[str], ipv4: Plan4 | None, ipv6: Plan6 | None) -> tuple[DhcpHost, ...]:
    """Read all leases set aside in a network with these addresses. Raises OptionError."""
    hosts: list[DhcpHost] = []
    for text in texts:
        host = _dhcp_host(text, ipv4, ipv6)
        for other in hosts:
            if other.address == host.address:
                raise _bad(text, "address given twice")
            if (other.mac, other.address.version) == (host.mac, host.address.version):
                raise _bad(text, "MAC address given twice")
        hosts.append(host)
    return tuple(hosts)


def parse_host_record(text: str) -> tuple[str, Address]:
    """Read a name and its address. Raises OptionError."""
    name, _, address_text = text.partition("=")
    address = parse_ipv4(address_text) or parse_ipv6(address_text)
    if address is None or not is_domain_name(name):
        raise OptionError(f"Invalid host-record '{text}' (NAME=ADDRESS is expected)")
    return name, address


def _dhcp_host(text: str, ipv4: Plan4 | None, ipv6: Plan6 | None) -> DhcpHost:
    mac_text, slash, rest = text.partition("/")
    address_text, named, name = rest.partition("/")
    mac, address = parse_mac(mac_text), parse_ipv4(address_text) or parse_ipv6(address_text)
    if not slash:
        raise _bad(text, "MAC/ADDRESS or MAC/ADDRESS/NAME is expected")
    if mac is None:
        raise _bad(text, "bad MAC address")
    if address is None:
        raise _bad(text, "bad address")
    if not is_free(address, ipv4, ipv6) or _is_edge(address, ipv4):
        raise _bad(text, "not an address for a guest of this network")
    if named and not is_host_name(name):
        raise _bad(text, "bad name")
    return DhcpHost(mac=mac, address=address, name=name or None)


def _is_edge(address: Address, ipv4: Plan4 | None) -> bool:
    """Whether it is the network itself, or its broadcast address."""
    return ipv4 is not None and address in (ipv4.net.network_address, ipv4.net.broadcast_address)


def _bad(text: str, reason: str) -> OptionError:
    return OptionError(f"Invalid dhcp-host '{text}' ({reason})")
