"""The dialogue of DHCP (RFC 2131) and BOOTP (RFC 951)."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address

from tests.oracles.user.script import Do, Scene, Step, ask_dhcp_for_silence, kind, sends
from tests.oracles.user.stage import GATEWAY, GUEST, MAC
from tests.wire import inet
from tests.wire.packets import COOKIE

DISCOVER, OFFER, REQUEST, DECLINE, ACK, NAK, RELEASE, INFORM = (bytes((number,)) for number in range(1, 9))
TYPE, ADDRESS, SERVER, WANTED, NAME, CLASS = 53, 50, 54, 55, 12, 60
# What clients ask for: mask, router, DNS, names, search list, MTU, boot server and file.
ALL = bytes((1, 3, 6, 12, 15, 26, 66, 67, 119))
HOST = IPv4Address(GATEWAY).packed
BROADCAST = "255.255.255.255"


def packed(address: str) -> bytes:
    return IPv4Address(address).packed


def message(
    options: dict[int, bytes] | None, *, ciaddr: str = "0.0.0.0", flags: int = 0, mac: bytes = MAC
) -> bytes:
    """A client's message; without options one of BOOTP."""
    fixed = struct.pack("!BBBBIHH4s12x16s192x", 1, 1, 6, 0, 0x1234, 0, flags, packed(ciaddr), mac)
    body = b"".join(bytes((code, len(value))) + value for code, value in (options or {}).items())
    return (fixed + COOKIE + body + b"\xff").ljust(300, b"\0")


def says(
    options: dict[int, bytes] | None, *, source: str = "0.0.0.0", to: str = BROADCAST, flags: int = 0
) -> Do:
    """Send it; a client that has an address says so in ciaddr."""
    data = message(options, ciaddr=source, flags=flags)
    return sends(inet.datagram((source, 68), (to, 67), data))


def request(address: str, server: bytes = HOST, wanted: bytes = ALL) -> dict[int, bytes]:
    return {TYPE: REQUEST, ADDRESS: packed(address), SERVER: server, WANTED: wanted}


DISCOVERS = Step("discover", says({TYPE: DISCOVER, WANTED: ALL}), kind("dhcp"))
REQUESTS = Step("request", says(request(GUEST)), kind("dhcp"))

DIALOGUE = Scene(
    "dhcp",
    [
        DISCOVERS,
        Step(
            "discover, by broadcast please", says({TYPE: DISCOVER, WANTED: ALL}, flags=0x8000), kind("dhcp")
        ),
        Step("discover with a wish", says({TYPE: DISCOVER, ADDRESS: packed("10.0.2.20")}), kind("dhcp")),
        REQUESTS,
        Step("request of a foreign address", says(request("192.168.1.5")), kind("dhcp")),
        Step("request after a restart", says({TYPE: REQUEST, ADDRESS: packed(GUEST)}), kind("dhcp")),
        Step("renewing", says({TYPE: REQUEST}, source=GUEST, to=GATEWAY), kind("dhcp")),
        Step("rebinding", says({TYPE: REQUEST}, source=GUEST), kind("dhcp")),
        Step("inform", says({TYPE: INFORM, WANTED: ALL}, source=GUEST), silent=ask_dhcp_for_silence),
        Step(
            "another server's offer taken",
            says(request(GUEST, packed("10.0.2.9"))),
            silent=ask_dhcp_for_silence,
        ),
        Step(
            "release",
            says({TYPE: RELEASE, SERVER: HOST}, source=GUEST, to=GATEWAY),
            silent=ask_dhcp_for_silence,
        ),
        Step("discover after the release", says({TYPE: DISCOVER}), kind("dhcp")),
        Step("BOOTP", says(None), kind("dhcp")),
        Step("no type", says({WANTED: ALL}), kind("dhcp")),
        Step("an unknown type", says({TYPE: b"\x63"}), silent=ask_dhcp_for_silence),
        Step(
            "a message that is cut short",
            sends(inet.datagram(("0.0.0.0", 68), (BROADCAST, 67), message(None)[:100])),
            silent=ask_dhcp_for_silence,
        ),
    ],
)

NAMES = Scene(
    "dhcp with names",
    [DISCOVERS, REQUESTS],
    "hostname=guest7,domainname=example.org,dnssearch=example.org,dnssearch=sub.example.org,"
    "tftp-server-name=boot.example.org,bootfile=pxelinux.0",
)

HTTP_BOOT = Scene(
    "dhcp for HTTP boot",
    [
        DISCOVERS,
        Step(
            "discover of an HTTP client",
            says({TYPE: DISCOVER, CLASS: b"HTTPClient:Arch:00016:UNDI:003001", WANTED: ALL + bytes((60,))}),
            kind("dhcp"),
        ),
    ],
    "bootfile=http://10.0.2.2/boot.efi",
)

RESTRICTED = Scene("dhcp, restricted", [DISCOVERS, REQUESTS], "restrict=on,hostname=guest7")

OTHER_NETWORK = Scene(
    "dhcp in another network",
    [DISCOVERS, Step("request", says(request("192.168.7.9", packed("192.168.7.1"))), kind("dhcp"))],
    "net=192.168.7.0/28,host=192.168.7.1,dns=192.168.7.2,dhcpstart=192.168.7.9",
)

SCENES = (DIALOGUE, NAMES, HTTP_BOOT, RESTRICTED, OTHER_NETWORK)
