"""`-netdev user`: QEMU's options, defaults, checks and error sentences, and ours beside them.

First everything is read, so that an unknown option is told before a wrong value; then the checks come in
QEMU's order, so that of two mistakes the same one is told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address

from wirebay.errors import OptionError
from wirebay.options.addresses import is_domain_name
from wirebay.options.guestfwd import is_free, parse_guestfwd
from wirebay.options.hostfwd import parse_hostfwd
from wirebay.options.hosts import parse_dhcp_hosts, parse_host_record
from wirebay.options.plan import Words4, Words6, families, plan4, plan6, read_words4, read_words6, smb_server
from wirebay.options.reader import Reader
from wirebay.options.types import GuestForward, Plan4, Plan6, UserOptions

MTU_RANGE = range(68, 65521)  # RFC 791 sets the lowest, a TAP's 64 KiB the highest
MTU_IPV6 = 1280  # RFC 8200 section 5
MAX_STRING = 255  # bytes of a DHCP option
MAX_BOOTFILE = 127  # bytes of BOOTP's `file`, less the final zero
SMB_PORTS = (139, 445)

_STRINGS = ("hostname", "domainname", "tftp", "tftp-server-name", "bootfile", "smb", "smbserver", "leases")
_LISTS = ("dnssearch", "hostfwd", "guestfwd", "dhcp-host", "host-record")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Given:
    """The options as they were written."""

    ipv4: bool | None
    ipv6: bool | None
    words4: Words4
    words6: Words6
    restrict: bool
    host_loopback: bool | None
    mtu: int | None
    strings: dict[str, str | None]
    lists: dict[str, list[str]]


def read_user(ident: str, reader: Reader) -> UserOptions:
    """Read and check the options of `user`. Raises OptionError with QEMU's sentence.

    Ours in addition: `mtu` (bytes), `host-loopback`, `leases`, `dhcp-host` and `host-record`. With an MTU
    below 1280 there is no IPv6 (RFC 8200).
    """
    given = _read(reader)
    reader.finish()
    ipv4, ipv6, smbserver = _plans(given)
    _check_strings(given.strings)
    hostfwd = tuple(map(parse_hostfwd, given.lists["hostfwd"]))
    guestfwd = _guestfwd(given.lists["guestfwd"], ipv4, ipv6)
    smb = given.strings["smb"] or None
    if smb is not None:
        _check_smb(smbserver, ipv4, guestfwd)
    return UserOptions(
        id=ident,
        ipv4=ipv4,
        ipv6=ipv6,
        restrict=given.restrict,
        hostname=given.strings["hostname"] or None,
        domainname=given.strings["domainname"],
        dnssearch=_search(given.lists["dnssearch"]),
        tftp=given.strings["tftp"] or None,
        tftp_server_name=given.strings["tftp-server-name"] or None,
        bootfile=given.strings["bootfile"] or None,
        smb=smb,
        smbserver=smbserver if smb is not None else None,
        hostfwd=hostfwd,
        guestfwd=guestfwd,
        mtu=_mtu(given),
        host_loopback=given.host_loopback is not False,
        leases=given.strings["leases"] or None,
        dhcp_hosts=parse_dhcp_hosts(given.lists["dhcp-host"], ipv4, ipv6),
        host_records=tuple(map(parse_host_record, given.lists["host-record"])),
    )


def search_domains(options: UserOptions) -> tuple[str, ...]:
    """The search list of an IPv6 network: `dnssearch`, or the domain, which IPv6 has no other option for."""
    if options.dnssearch or not options.domainname or not is_domain_name(options.domainname):
        return options.dnssearch
    return (options.domainname,)


def _read(reader: Reader) -> _Given:
    return _Given(
        words6=read_words6(reader),  # `ipv6-net` is taken apart before anything else is looked at
        restrict=reader.boolean("restrict") or False,
        ipv4=reader.boolean("ipv4"),
        ipv6=reader.boolean("ipv6"),
        words4=read_words4(reader),
        host_loopback=reader.boolean("host-loopback"),
        mtu=reader.integer("mtu", "uint32_t"),
        strings={name: reader.string(name) for name in _STRINGS},
        lists={name: reader.strings(name) for name in _LISTS},
    )


def _plans(given: _Given) -> tuple[Plan4 | None, Plan6 | None, IPv4Address]:
    """The addresses of both families, and of the SMB server. What is switched off is checked all the same."""
    has_ipv4, has_ipv6 = families(given.ipv4, given.ipv6, given.words4, given.words6)
    ipv4 = plan4(given.words4, restrict=given.restrict)
    smbserver = smb_server(given.strings["smbserver"], ipv4.net)
    ipv6 = plan6(given.words6, restrict=given.restrict)
    if has_ipv4 and not given.ipv6 and _mtu(given) < MTU_IPV6:
        has_ipv6 = False
    return ipv4 if has_ipv4 else None, ipv6 if has_ipv6 else None, smbserver


def _check_strings(strings: dict[str, str | None]) -> None:
    if strings["domainname"] == "":
        raise OptionError("'domainname' parameter cannot be empty")
    _check_length("domainname", strings["domainname"])
    _check_length("vhostname", strings["hostname"])  # QEMU's misprint
    _check_length("tftp-server-name", strings["tftp-server-name"])
    _check_length("bootfile", strings["bootfile"], MAX_BOOTFILE)  # QEMU crashes


def _check_length(name: str, text: str | None, longest: int = MAX_STRING) -> None:
    if text is not None and len(text.encode(errors="surrogateescape")) > longest:
        raise OptionError(f"'{name}' parameter cannot exceed {longest} bytes")


def _search(names: Sequence[str]) -> tuple[str, ...]:
    """The search domains. QEMU leaves out those that are none, with a warning."""
    for name in names:
        if not is_domain_name(name):
            raise OptionError(f"Parameter 'dnssearch' expects a domain name, which '{name}' is not")
    return tuple(names)


def _guestfwd(rules: Sequence[str], ipv4: Plan4 | None, ipv6: Plan6 | None) -> tuple[GuestForward, ...]:
    forwards: list[GuestForward] = []
    for rule in rules:
        forwards.append(parse_guestfwd(rule, ipv4, ipv6, forwards))
    return tuple(forwards)


def _check_smb(server: IPv4Address, ipv4: Plan4 | None, guestfwd: Sequence[GuestForward]) -> None:
    """SMB is one more user of the network's addresses; the directory is checked when it is opened."""
    clash = any((rule.server, rule.proto) == (server, "tcp") and rule.port in SMB_PORTS for rule in guestfwd)
    if clash or not is_free(server, ipv4, None):
        raise OptionError("Conflicting/invalid smbserver address")


def _mtu(given: _Given) -> int:
    if given.mtu is None:
        return 1500
    if given.mtu not in MTU_RANGE:
        raise OptionError(f"Parameter 'mtu' expects a number from {MTU_RANGE[0]} to {MTU_RANGE[-1]}")
    if given.mtu < MTU_IPV6 and (given.ipv6 or given.ipv4 is False):
        raise OptionError(f"Parameter 'mtu' expects at least {MTU_IPV6} with IPv6")
    return given.mtu
