"""The addresses of a user network: QEMU's defaults, checks and error sentences."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from wirebay.errors import OptionError
from wirebay.options.addresses import parse_ipv4, parse_ipv6
from wirebay.options.reader import Reader
from wirebay.options.types import Plan4, Plan6

DEFAULT_NET = "10.0.2.0/24"
DEFAULT_PREFIX, DEFAULT_PREFIXLEN = "fec0::", 64

# The mask that an address without one implies: (mask to look through, value seen, mask implied).
# The first match counts.
_IMPLIED_MASKS = (
    (0x80000000, 0x00000000, 0xFF000000),  # class A
    (0xFFF00000, 0xAC100000, 0xFFF00000),  # 172.16.0.0/12
    (0xC0000000, 0x80000000, 0xFFFF0000),  # class B
    (0xFFFF0000, 0xC0A80000, 0xFFFF0000),  # 192.168.0.0/16
    (0xFFFF0000, 0xC6120000, 0xFFFE0000),  # 198.18.0.0/15
    (0xE0000000, 0xE0000000, 0xFFFFFF00),
    (0x00000000, 0x00000000, 0xFFFFFFF0),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Words4:
    """The options about IPv4 addresses as they were written."""

    net: str | None
    host: str | None
    dns: str | None
    dhcpstart: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Words6:
    """The options about IPv6 addresses as they were written."""

    prefix: str | None
    prefixlen: int | None
    host: str | None
    dns: str | None


def read_words4(reader: Reader) -> Words4:
    """Take the options about IPv4 addresses; `ip` is the older `net`, and always means a /24."""
    net, ip = reader.string("net"), reader.string("ip")
    return Words4(
        net=f"{ip}/24" if net is None and ip is not None else net,
        host=reader.string("host"),
        dns=reader.string("dns"),
        dhcpstart=reader.string("dhcpstart"),
    )


def read_words6(reader: Reader) -> Words6:
    """Take the options about IPv6 addresses; `ipv6-net` is both others in one, and wins over them.

    Raises OptionError for an `ipv6-net` that cannot be parted.
    """
    prefix, prefixlen = reader.string("ipv6-prefix"), reader.integer("ipv6-prefixlen", "int64_t")
    net = reader.shorthand("ipv6-net")
    if net is not None:
        prefix, prefixlen = _part_ipv6_net(net)
    return Words6(
        prefix=prefix,
        prefixlen=prefixlen,
        host=reader.string("ipv6-host"),
        dns=reader.string("ipv6-dns"),
    )


def _part_ipv6_net(text: str) -> tuple[str, int]:
    if text == "":
        raise OptionError("Parameter 'ipv6-net' expects a valid IPv6 prefix")
    prefix, slash, length = text.partition("/")
    if not slash:
        return prefix, 0
    if not re.fullmatch(r"[+-]?[0-9]{1,9}", length):
        raise OptionError("parameter 'ipv6-net' expects a number after '/'")
    return prefix, int(length)


def families(ipv4: bool | None, ipv6: bool | None, words4: Words4, words6: Words6) -> tuple[bool, bool]:
    """Whether the network has IPv4 and IPv6, by the options of these names. Raises OptionError.

    Switching one on switches the other off, unless that one is named too.
    """
    has_ipv4 = ipv6 is not True if ipv4 is None else ipv4
    has_ipv6 = ipv4 is not True if ipv6 is None else ipv6
    if not has_ipv4 and (words4.net, words4.host, words4.dns) != (None, None, None):
        raise OptionError("IPv4 disabled but netmask/host/dns provided")
    if not has_ipv6 and (words6.prefix, words6.host, words6.dns) != (None, None, None):
        raise OptionError("IPv6 disabled but prefix/host6/dns6 provided")
    if not has_ipv4 and not has_ipv6:
        raise OptionError("IPv4 and IPv6 disabled")
    return has_ipv4, has_ipv6


def plan4(words: Words4, *, restrict: bool) -> Plan4:
    """The IPv4 addresses, with QEMU's in place of what was not given. Raises OptionError."""
    net = _network(DEFAULT_NET if words.net is None else words.net)
    host = _address(words.host, net, 0x0202, "Failed to parse host")
    if host not in net:
        raise OptionError("Host doesn't belong to network")
    dns = _address(words.dns, net, 0x0203, "Failed to parse DNS")
    if restrict and dns not in net:
        raise OptionError("DNS doesn't belong to network")
    if dns == host:
        raise OptionError("DNS must be different from host")
    dhcpstart = _address(words.dhcpstart, net, 0x020F, "Failed to parse DHCP start address")
    if dhcpstart not in net:
        raise OptionError("DHCP doesn't belong to network")
    if dhcpstart in (host, dns):
        raise OptionError("DHCP must be different from host and DNS")
    if words.dhcpstart is None and dhcpstart == net.broadcast_address:
        # QEMU's default in a /28 or /29, which no guest could use.
        dhcpstart = next(address for address in net.hosts() if address not in (host, dns))
    return Plan4(net=net, host=host, dns=dns, dhcpstart=dhcpstart)


def smb_server(text: str | None, net: IPv4Network) -> IPv4Address:
    """The address of the SMB server. Raises OptionError."""
    return _address(text, net, 0x0204, "Failed to parse SMB address")


def plan6(words: Words6, *, restrict: bool) -> Plan6:
    """The IPv6 addresses, with QEMU's in place of what was not given. Raises OptionError.

    Where QEMU keeps the bits behind the prefix, they do not count; and the DNS server's address must not be
    the host's, nor the prefix one that no router announces.
    """
    net = _network6(words)
    host = _address6(words.host, net, 2, "Failed to parse IPv6 host")
    if host not in net:
        raise OptionError("IPv6 Host doesn't belong to network")
    dns = _address6(words.dns, net, 3, "Failed to parse IPv6 DNS")
    if restrict and dns not in net:
        raise OptionError("IPv6 DNS doesn't belong to network")
    if dns == host:
        raise OptionError("IPv6 DNS must be different from host")
    return Plan6(net=net, host=host, dns=dns)


def _network(text: str) -> IPv4Network:
    address_text, slash, mask_text = text.partition("/")
    address = parse_ipv4(address_text)
    if address is None:
        raise OptionError("Failed to parse netmask")
    mask = _mask(mask_text) if slash else _implied_mask(int(address))
    return IPv4Network((int(address) & mask, mask.bit_count()))


def _mask(text: str) -> int:
    """A mask: a length or the dotted form."""
    length = _decimal(text)
    if length is not None:
        if not 4 <= length <= 32:
            raise OptionError("Invalid netmask provided (must be in range 4-32)")
        return 0xFFFFFFFF << (32 - length) & 0xFFFFFFFF
    address = parse_ipv4(text)
    if address is None:
        raise OptionError("Failed to parse netmask (trailing chars)")
    holes = ~int(address) & 0xFFFFFFFF
    if holes & (holes + 1) or holes.bit_length() > 28:
        # QEMU takes any mask here, and then works with one that no route can have.
        raise OptionError(f"Invalid netmask provided ('{text}' has holes, or is shorter than 4 bits)")
    return int(address)


def _decimal(text: str) -> int | None:
    if text == "":
        return 0
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def _implied_mask(address: int) -> int:
    return next(implied for mask, value, implied in _IMPLIED_MASKS if address & mask == value)


def _address(text: str | None, net: IPv4Network, default: int, complaint: str) -> IPv4Address:
    """The address given, or the one with the bits of `default` in the host part."""
    if text is None:
        return IPv4Address(int(net.network_address) | default & int(net.hostmask))
    address = parse_ipv4(text)
    if address is None:
        raise OptionError(complaint)
    return address


def _network6(words: Words6) -> IPv6Network:
    prefix = parse_ipv6(DEFAULT_PREFIX if words.prefix is None else words.prefix)
    if prefix is None:
        raise OptionError("Failed to parse IPv6 prefix")
    length = words.prefixlen or DEFAULT_PREFIXLEN
    if not 0 <= length <= 126:
        raise OptionError("Invalid IPv6 prefix provided (IPv6 prefix length must be between 0 and 126)")
    if prefix.is_multicast or prefix.is_link_local or prefix.is_loopback:
        raise OptionError(f"Invalid IPv6 prefix provided ('{prefix}' is none that a router announces)")
    return IPv6Network((prefix, length), strict=False)


def _address6(text: str | None, net: IPv6Network, default: int, complaint: str) -> IPv6Address:
    if text is None:
        return net[default]
    address = parse_ipv6(text)
    if address is None:
        raise OptionError(complaint)
    return address
