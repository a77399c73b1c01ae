"""What a DHCP server tells its clients: the settings, and the options they become.

Options and their order are QEMU's: 53, 54, 1, 3, 6, 51, 12, 15, 66, 119, 60; then ours: 67, 26, 58, 59, 97.

- Under `restrict` 3 and 6 are left out: there is nothing behind the router, and no DNS. But the router (3)
  stays where forwards lead in: their clients appear with their real addresses, and a guest without a default
  route could not answer them.
- The boot file stands in the `file` field, and as option 67 for those who ask.
- 60 is HTTPClient where the boot file is a URL and the client boots from one: UEFI wants to see it.
- 26, the MTU, is told where it is not the usual one, and to those who ask.
- 97, the machine's UUID, is repeated to those who sent it (RFC 4578 section 2.3).
- BOOTP clients get none of 53, 54, 51, 58 and 59, which mean nothing to them (RFC 1534 section 2).

A reply never exceeds what the client takes: where it would, settings are left out, the longest-winded first.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Network

from wirebay.services.dhcp_leases import pool_of
from wirebay.services.dhcp_message import HTTP_CLIENT, DhcpMessage, MessageType, Option, encode
from wirebay.services.domain_names import encode_search

LEASE_TIME = 86400  # seconds, QEMU's
DEFAULT_MTU = 1500

_EXPENDABLE = (Option.SEARCH, Option.BOOTFILE, Option.TFTP_SERVER, Option.DOMAIN_NAME, Option.HOST_NAME)
_DHCP_ONLY = (
    Option.MESSAGE_TYPE,
    Option.SERVER_ID,
    Option.LEASE_TIME,
    Option.RENEWAL_TIME,
    Option.REBINDING_TIME,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class DhcpConfig:
    """What the server tells its clients: the options of QEMU's `user` netdev that it needs, and ours.

    `host` is the server and the router, `first` the start of the pool (option dhcpstart), `lease_time` is in
    seconds. `reserved` and `names` are addresses and host names by MAC address (option dhcp-host).
    """

    net: IPv4Network
    host: IPv4Address
    dns: IPv4Address
    first: IPv4Address
    hostname: str | None = None
    domainname: str | None = None
    search: tuple[str, ...] = ()
    tftp_server_name: str | None = None
    bootfile: str | None = None
    mtu: int = DEFAULT_MTU
    restrict: bool = False
    lease_time: int = LEASE_TIME
    reserved: Mapping[bytes, IPv4Address] = field(default_factory=dict)
    names: Mapping[bytes, str] = field(default_factory=dict)

    def pool(self) -> list[IPv4Address]:
        """The addresses to give away, from the first on, without those that are somebody's."""
        network, broadcast = self.net.network_address, self.net.broadcast_address
        taken = {network, broadcast, self.host, self.dns, *self.reserved.values()}
        return pool_of(self.first, broadcast, taken)

    def boot_file(self) -> bytes:
        """The boot file for the `file` field."""
        return _bytes(self.bootfile or "")


def reply_options(
    config: DhcpConfig, request: DhcpMessage, kind: MessageType, *, lease: bool, router: bool
) -> dict[int, bytes]:
    """The options of a reply, `lease` with the times of a lease, `router` with one even under `restrict`."""
    options: dict[int, bytes] = {
        Option.MESSAGE_TYPE: bytes((kind,)),
        Option.SERVER_ID: config.host.packed,
        Option.NETMASK: config.net.netmask.packed,
    }
    if router or not config.restrict:
        options[Option.ROUTER] = config.host.packed
    if not config.restrict:
        options[Option.DNS] = config.dns.packed
    if lease:
        options[Option.LEASE_TIME] = _seconds(config.lease_time)
    options |= _names(config, request) | _boot(config, request)
    if config.mtu != DEFAULT_MTU or request.asks_for(Option.MTU):
        options[Option.MTU] = config.mtu.to_bytes(2, "big")
    if lease:  # the shares of the lease time are those of RFC 2131 section 4.4.5
        options[Option.RENEWAL_TIME] = _seconds(config.lease_time // 2)
        options[Option.REBINDING_TIME] = _seconds(config.lease_time * 7 // 8)
    if machine := request.options.get(Option.MACHINE_ID):
        options[Option.MACHINE_ID] = machine
    if request.message_type is None:
        options = {code: value for code, value in options.items() if code not in _DHCP_ONLY}
    return options


def fitted(reply: DhcpMessage, largest: int) -> bytes:
    """The reply on the wire, without what makes it longer than `largest` bytes."""
    options = dict(reply.options)
    data = encode(reply)
    for code in _EXPENDABLE:
        if len(data) <= largest:
            break
        options.pop(code, None)
        data = encode(replace(reply, options=options))
    return data


def _names(config: DhcpConfig, request: DhcpMessage) -> dict[int, bytes]:
    texts = {
        Option.HOST_NAME: config.names.get(request.chaddr, config.hostname),
        Option.DOMAIN_NAME: config.domainname,
        Option.TFTP_SERVER: config.tftp_server_name,
    }
    options: dict[int, bytes] = {code: _bytes(text) for code, text in texts.items() if text}
    if config.search:
        options[Option.SEARCH] = encode_search(config.search)
    return options


def _boot(config: DhcpConfig, request: DhcpMessage) -> dict[int, bytes]:
    options: dict[int, bytes] = {}
    boot_file = config.boot_file()
    if boot_file.startswith((b"http://", b"https://")) and request.wants_http:
        options[Option.VENDOR_CLASS] = HTTP_CLIENT
    if boot_file and request.asks_for(Option.BOOTFILE):
        options[Option.BOOTFILE] = boot_file
    return options


def _bytes(text: str) -> bytes:
    return os.fsencode(text)


def _seconds(value: int) -> bytes:
    return value.to_bytes(4, "big")
