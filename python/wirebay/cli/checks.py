"""The judgements of `wirebay doctor`: from a fact about the host, which others found, to a state and a
remedy."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Literal

__all__ = [
    "Check",
    "check_descriptors",
    "check_namespaces",
    "check_peek_offset",
    "check_ping",
    "check_ports",
    "check_qemu",
    "check_resolvers",
    "check_smbd",
    "check_tun",
    "check_way",
]

ALL_OFFLOADS = ("csum", "tso4", "tso6", "uso4", "uso6")
QEMU_WITH_STREAM = (7, 2)  # the first with -netdev stream
GOOD_FLOWS = 65536
RESERVED_DESCRIPTORS = 64  # what the worker needs besides one for each flow


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the doctor. `essential`: without it `wirebay ns` does not work at all."""

    name: str
    state: Literal["ok", "limited", "missing"]
    found: str
    remedy: str | None = None
    essential: bool = False


def check_namespaces(failure: str | None) -> Check:
    """`failure` is the sentence with which making namespaces failed, None if that worked."""
    if failure is None:
        return Check("user namespaces", "ok", "can be made", essential=True)
    return Check("user namespaces", "missing", *_split(failure), essential=True)


def check_tun(failure: str | None, offloads: Sequence[str] | None) -> Check:
    """`failure` as above; `offloads` is what the kernel took, None if there was no namespace to try it in."""
    if failure is not None:
        return Check("tun", "missing", *_split(failure), essential=True)
    if offloads is None:
        return Check("tun", "ok", "can be opened, its offloads could not be tried", essential=True)
    lacking = [name for name in ALL_OFFLOADS if name not in offloads]
    if lacking:
        found = f"the kernel does not offload {' '.join(lacking)}"
        return Check("tun", "limited", found, "use Linux 6.2 or later for more speed", essential=True)
    return Check("tun", "ok", f"offloads {' '.join(offloads)}", essential=True)


def check_ping(group_range: str, groups: Collection[int]) -> Check:
    """`group_range` is the text of net.ipv4.ping_group_range, `groups` are those of the caller."""
    low, high = map(int, group_range.split())
    if any(low <= group <= high for group in groups):
        return Check("ping sockets", "ok", "guests can ping the outside")
    return Check(
        "ping sockets",
        "limited",
        "guests can ping the gateway only",
        """allow more with 'sysctl -w net.ipv4.ping_group_range="0 2147483647"'""",
    )


def check_qemu(version: str | None) -> Check:
    """`version` is what QEMU says of itself, None if there is none."""
    remedy = "install QEMU 7.2 or later for 'wirebay qemu'"
    if version is None:
        return Check("QEMU", "missing", "no qemu-system-* program in PATH", remedy)
    numbers = re.search(r"version (\d+)\.(\d+)[.\d]*", version)
    if numbers is None:
        return Check("QEMU", "limited", f"its version is not known: {version.strip()[:80]!r}", remedy)
    found = numbers[0]
    if (int(numbers[1]), int(numbers[2])) < QEMU_WITH_STREAM:
        return Check("QEMU", "missing", f"{found} has no -netdev stream", remedy)
    return Check("QEMU", "ok", found)


def check_resolvers(servers: Sequence[IPv4Address | IPv6Address]) -> Check:
    """`servers` are the name servers of the host, best first."""
    if not servers:
        remedy = "guests cannot look up names until /etc/resolv.conf names a server"
        return Check("resolvers", "limited", "the host has none", remedy)
    return Check("resolvers", "ok", ", ".join(map(str, servers)))


def check_way(family: str, there: bool) -> Check:
    """`there`: has the host an address and a route to the outside over the family, IPv4 or IPv6?"""
    if there:
        return Check(family, "ok", "leads to the outside")
    switch = family.lower()
    return Check(
        family,
        "limited",
        "no way to the outside; guests hear that it is unreachable",
        f"give this host an address and a default route, or guests no {family} ({switch}=off)",
    )


def check_smbd(path: str | None) -> Check:
    """`path` is where Samba's server is, None if there is none."""
    if path is not None:
        return Check("smbd", "ok", path)
    return Check(
        "smbd", "missing", "guests can have no smb= share", "install it (on Debian: the package samba)"
    )


def check_descriptors(limit: int | None) -> Check:
    """`limit` is the hard limit of open files, None for no limit; each flow takes one."""
    if limit is None:
        return Check("descriptors", "ok", "no limit")
    found = f"{limit} open files, for {max(limit - RESERVED_DESCRIPTORS, 0)} flows at once"
    if limit - RESERVED_DESCRIPTORS >= GOOD_FLOWS:
        return Check("descriptors", "ok", found)
    return Check(
        "descriptors",
        "limited",
        found,
        "raise the hard limit: 'ulimit -Hn 1048576', or LimitNOFILE= in a unit",
    )


def check_peek_offset(works: bool) -> Check:
    """Does SO_PEEK_OFF work on TCP sockets?"""
    if works:
        return Check("TCP peek offset", "ok", "data is read from the kernel's queue once")
    found = "no SO_PEEK_OFF on TCP, so unacknowledged data is read again"
    return Check("TCP peek offset", "limited", found, "use Linux 6.9 or later for more speed")


def check_ports(start: int, may_bind_any: bool) -> Check:
    """`start` is net.ipv4.ip_unprivileged_port_start."""
    if may_bind_any or start <= 1:
        return Check("forwarded ports", "ok", "hostfwd can use every port")
    return Check(
        "forwarded ports",
        "limited",
        f"hostfwd can use ports from {start}",
        "allow more with 'sysctl -w net.ipv4.ip_unprivileged_port_start=80'",
    )


def _split(sentence: str) -> tuple[str, str | None]:
    """The sentences of HostError say what is wrong, a colon, and the remedy."""
    found, _, remedy = sentence.partition(": ")
    return found, remedy or None
