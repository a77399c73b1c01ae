"""IPv6's neighbours and routers, DHCPv6 and ping."""

from __future__ import annotations

from tests.oracles.user.script import (
    HELLO6,
    Do,
    Scene,
    Step,
    ask_for_silence6,
    echo_body,
    kind,
    sends,
    sends_frame,
)
from tests.oracles.user.stage import GATEWAY6, GUEST6, LINK_LOCAL, MAC
from tests.wire import inet
from tests.wire.inet import ALL_DHCP, ALL_ROUTERS, ROUTER_SOLICITATION

ECHO = kind("echo", "error")
INFORMATION_REQUEST, SOLICIT = 11, 1
ROUTER = "fe80::2"


def asks(target: str, source: str = GUEST6) -> Do:
    return sends_frame(inet.solicitation(MAC, source, target))


def solicits(source: str, hops: int = 255) -> Do:
    """Asks for routers; from an address, with the card's own (RFC 4861 4.1)."""
    option = b"" if source == "::" else b"\1\1" + MAC
    return sends(inet.icmp6(source, ALL_ROUTERS, ROUTER_SOLICITATION, bytes(4) + option, hops=hops))


def probes(target: str) -> Do:
    """Asks one machine whether it is still there."""
    body = bytes(4) + inet.address(target).packed + b"\1\1" + MAC
    return sends(inet.icmp6(GUEST6, target, inet.NEIGHBOUR_SOLICITATION, body))


def pings(target: str, data: bytes = b"wirebay", hops: int = 64) -> Do:
    return sends(inet.icmp6(GUEST6, target, 128, echo_body(data), hops=hops))


def dhcp6(kind_: int, *options: bytes) -> Do:
    message = bytes((kind_, 0x11, 0x22, 0x33)) + b"".join(options)
    return sends(inet.datagram((LINK_LOCAL, 546), (ALL_DHCP, 547), message))


def option(code: int, value: bytes) -> bytes:
    return code.to_bytes(2, "big") + len(value).to_bytes(2, "big") + value


CLIENT_ID = option(1, b"\0\3\0\1" + MAC)
ELAPSED = option(8, b"\0\0")
WANTED = option(6, b"\0\x17\0\x18\0\x3b")  # DNS, search list, boot file

NEIGHBOURS = Scene(
    "neighbours",
    [
        HELLO6,
        Step("DNS", asks("fec0::3"), kind("na")),
        Step("the router", asks(ROUTER, LINK_LOCAL), kind("na")),
        Step("DNS on the link", asks("fe80::3", LINK_LOCAL), kind("na")),
        Step("asked of one machine", probes(GATEWAY6), kind("na")),
        Step("whether the gateway's address is free", asks(GATEWAY6, "::"), kind("na")),
        Step("whether its own address is free", asks(GUEST6, "::"), silent=ask_for_silence6),
        Step("nobody", asks("fec0::77"), silent=ask_for_silence6),
        Step("another network", asks("fd00::2"), silent=ask_for_silence6),
    ],
)

ROUTERS = Scene(
    "routers",
    [
        HELLO6,
        Step("asked from an address", solicits(LINK_LOCAL), kind("ra")),
        Step("asked from none", solicits("::"), kind("ra")),
        Step("asked from another link", solicits(LINK_LOCAL, 64), silent=ask_for_silence6),
    ],
)
OTHER_PREFIX = Scene(
    "routers of another network",
    [
        Step("asked from an address", solicits(LINK_LOCAL), kind("ra")),
        Step("host", asks("fd00:77::1", LINK_LOCAL), kind("na")),
        Step("DNS", asks("fd00:77::9", LINK_LOCAL), kind("na")),
    ],
    "ipv6-net=fd00:77::/64,ipv6-host=fd00:77::1,ipv6-dns=fd00:77::9",
)

DHCP6 = Scene(
    "dhcp6",
    [
        HELLO6,
        Step("information", dhcp6(INFORMATION_REQUEST, CLIENT_ID, ELAPSED, WANTED), kind("dhcp6")),
        Step("information of a nameless client", dhcp6(INFORMATION_REQUEST, ELAPSED, WANTED), kind("dhcp6")),
    ],
    "bootfile=pxelinux.0",
)
DHCP6_PLAIN = Scene(
    "dhcp6 without a boot file",
    [HELLO6, Step("information", dhcp6(INFORMATION_REQUEST, CLIENT_ID, ELAPSED, WANTED), kind("dhcp6"))],
)

# Of other machines there is nothing to compare: only newer libslirp pings them by IPv6.
PING = Scene(
    "icmp by IPv6",
    [
        HELLO6,
        Step("ping of the gateway", pings(GATEWAY6), ECHO),
        Step("ping without data", pings(GATEWAY6, b""), ECHO),
        Step("ping of the router", pings(ROUTER), ECHO),
        Step("ping of DNS", pings("fec0::3"), ECHO),
    ],
)

SCENES = (NEIGHBOURS, ROUTERS, OTHER_PREFIX, DHCP6, DHCP6_PLAIN, PING)
