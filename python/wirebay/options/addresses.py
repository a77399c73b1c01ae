"""Addresses and names as options spell them. Nothing here asks a resolver."""

from __future__ import annotations

import re
import socket
from ipaddress import IPv4Address, IPv6Address

MAX_NAME = 253  # characters of a domain name, RFC 1035 section 2.3.4 less the length bytes
MAX_INTERFACE = 15  # IFNAMSIZ of Linux, less the final zero

_MAC = re.compile(r"[0-9a-fA-F]{1,2}(?:(?::[0-9a-fA-F]{1,2}){5}|(?:-[0-9a-fA-F]{1,2}){5})")
_LABEL = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_INTERFACE = re.compile(r"[^\s/:%\[\]]+")


def parse_ipv4(text: str) -> IPv4Address | None:
    """An IPv4 address in any form that inet_aton(3) takes (`10.2`, 0x0a000002); None if it is none."""
    try:
        return IPv4Address(socket.inet_aton(text))
    except (OSError, ValueError):  # ValueError: characters that no address has
        return None


def parse_ipv6(text: str) -> IPv6Address | None:
    """An IPv6 address as inet_pton(3) takes it, without a scope; None if it is none."""
    try:
        return IPv6Address(socket.inet_pton(socket.AF_INET6, text))
    except (OSError, ValueError):
        return None


def parse_mac(text: str) -> bytes | None:
    """The MAC address of a card, six bytes with colons or dashes; None if it is none, or a group's."""
    if not _MAC.fullmatch(text):
        return None
    mac = bytes(int(part, 16) for part in re.split("[:-]", text))
    return None if mac[0] & 1 else mac


def is_domain_name(text: str) -> bool:
    """Whether it is a domain name of labels (RFC 1123 section 2.1, and the underscores of real life)."""
    labels = text.removesuffix(".").split(".")
    return len(text) <= MAX_NAME and all(map(_LABEL.fullmatch, labels))


def is_host_name(text: str) -> bool:
    """Whether it is a domain name that nobody takes for an address: its last label is no number."""
    return is_domain_name(text) and not text.removesuffix(".").split(".")[-1].isdigit()


def is_interface(text: str) -> bool:
    """Whether Linux could have a network interface of this name."""
    return _INTERFACE.fullmatch(text) is not None and len(text.encode()) <= MAX_INTERFACE
