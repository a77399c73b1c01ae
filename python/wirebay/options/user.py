"""`-netdev user`: QEMU's options, defaults, checks and error sentences, as far as Wirebay serves them."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from wirebay.errors import OptionError
from wirebay.options.hostfwd import parse_address, parse_hostfwd
from wirebay.options.reader import Reader, not_served
from wirebay.options.types import UserOptions

MTU_RANGE = range(68, 65521)  # RFC 791 sets the lowest, a TAP's 64 KiB the highest
MAX_HOSTNAME = 255

NOT_SERVED = (
    "tftp", "tftp-server-name", "bootfile", "dnssearch", "domainname", "smb", "smbserver", "guestfwd",
    "ipv6-net", "ipv6-prefix", "ipv6-prefixlen", "ipv6-host", "ipv6-dns",
)  # fmt: skip

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
class _Given:
    """The options about IPv4 addresses as they were written."""

    ipv4: bool | None
    ipv6: bool | None
    net: str | None
    host: str | None
    dns: str | None
    dhcpstart: str | None
    restrict: bool


def read_user(ident: str, reader: Reader) -> UserOptions:
    """Read and check the options of `user`. Raises OptionError with QEMU's sentence.

    Ours in addition: `mtu` (bytes) and `host-loopback`. Options of QEMU's that need what Wirebay has not yet
    (IPv6, TFTP, SMB, guestfwd ...) are refused by name.
    """
    reader.refuse(NOT_SERVED, "user")
    given = _Given(
        restrict=reader.boolean("restrict") or False,
        ipv4=reader.boolean("ipv4"),
        ipv6=reader.boolean("ipv6"),
        net=_net_or_ip(reader),
        host=reader.string("host"),
        dhcpstart=reader.string("dhcpstart"),
        dns=reader.string("dns"),
    )
    hostname, rules = reader.string("hostname"), reader.strings("hostfwd")
    mtu, host_loopback = reader.integer("mtu", "uint32_t"), reader.boolean("host-loopback")
    reader.finish()
    _check_families(given)
    net = _network("10.0.2.0/24" if given.net is None else given.net)
    host, dns, dhcpstart = _addresses(given, net)
    return UserOptions(
        id=ident,
        net=net,
        host=host,
        dns=dns,
        dhcpstart=dhcpstart,
        hostname=_hostname(hostname),
        restrict=given.restrict,
        hostfwd=tuple(map(parse_hostfwd, rules)),
        mtu=_mtu(mtu),
        host_loopback=host_loopback is not False,
    )


def _net_or_ip(reader: Reader) -> str | None:
    """`net`, or the older `ip`, which always means a /24."""
    net, ip = reader.string("net"), reader.string("ip")
    return f"{ip}/24" if net is None and ip is not None else net


def _check_families(given: _Given) -> None:
    """Switching one family on switches the other off, unless that one is named too."""
    ipv4 = given.ipv6 is not True if given.ipv4 is None else given.ipv4
    ipv6 = given.ipv4 is not True if given.ipv6 is None else given.ipv6
    if not ipv4 and (given.net, given.host, given.dns) != (None, None, None):
        raise OptionError("IPv4 disabled but netmask/host/dns provided")
    if not ipv4 and not ipv6:
        raise OptionError("IPv4 and IPv6 disabled")
    if given.ipv6:
        raise not_served("option 'ipv6=on' of the user network")
    if not ipv4:
        raise not_served("option 'ipv4=off' of the user network")


def _network(text: str) -> IPv4Network:
    address_text, slash, mask_text = text.partition("/")
    address = parse_address(address_text)
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
    address = parse_address(text)
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


def _addresses(given: _Given, net: IPv4Network) -> tuple[IPv4Address, IPv4Address, IPv4Address]:
    """The addresses of the host, of the DNS server, and the first that DHCP gives out."""
    host = _address(given.host, net, 0x0202, "Failed to parse host")
    if host not in net:
        raise OptionError("Host doesn't belong to network")
    dns = _address(given.dns, net, 0x0203, "Failed to parse DNS")
    if given.restrict and dns not in net:
        raise OptionError("DNS doesn't belong to network")
    if dns == host:
        raise OptionError("DNS must be different from host")
    dhcpstart = _address(given.dhcpstart, net, 0x020F, "Failed to parse DHCP start address")
    if dhcpstart not in net:
        raise OptionError("DHCP doesn't belong to network")
    if dhcpstart in (host, dns):
        raise OptionError("DHCP must be different from host and DNS")
    return host, dns, dhcpstart


def _address(text: str | None, net: IPv4Network, default: int, complaint: str) -> IPv4Address:
    """The address given, or the one with the bits of `default` in the host part."""
    if text is None:
        return IPv4Address(int(net.network_address) | default & int(net.hostmask))
    address = parse_address(text)
    if address is None:
        raise OptionError(complaint)
    return address


def _hostname(name: str | None) -> str | None:
    """DHCP's option 12; the sentence is QEMU's, misprint included."""
    if name is not None and len(name.encode(errors="surrogateescape")) > MAX_HOSTNAME:
        raise OptionError(f"'vhostname' parameter cannot exceed {MAX_HOSTNAME} bytes")
    return name or None


def _mtu(mtu: int | None) -> int:
    if mtu is None:
        return 1500
    if mtu not in MTU_RANGE:
        raise OptionError(f"Parameter 'mtu' expects a number from {MTU_RANGE[0]} to {MTU_RANGE[-1]}")
    return mtu
