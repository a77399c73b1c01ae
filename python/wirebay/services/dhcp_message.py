"""DHCP and BOOTP messages as bytes: reading and writing, nothing else.

A message is a fixed part of 236 bytes (RFC 2131 section 2), a magic cookie, and options as type, length,
value. When the option field is too small a client puts more options into the `file` and `sname` fields and
says so with option 52 (RFC 2131 section 4.1); an option that comes twice is one long option (RFC 3396). A
message without the cookie is plain BOOTP (RFC 951), which has no options.

Bytes come from guests: whatever they are, `decode` returns a message or raises DhcpError.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from ipaddress import IPv4Address

__all__ = [
    "BOOT_REPLY",
    "BOOT_REQUEST",
    "UNSPECIFIED",
    "DhcpError",
    "DhcpMessage",
    "MessageType",
    "Option",
    "decode",
    "encode",
]

BOOT_REQUEST, BOOT_REPLY = 1, 2
UNSPECIFIED = IPv4Address(0)
MINIMUM_SIZE = 300  # RFC 951 section 3; some clients drop anything shorter
MINIMUM_DATAGRAM = 576  # RFC 2131 section 2: what every client takes
IP_UDP_HEADERS = 28
MAX_OPTION = 255
HTTP_CLIENT = b"HTTPClient"  # UEFI 2.10 section 24.7
HTTP_KINDS = frozenset(range(0x0F, 0x15))  # the architectures with HTTP in IANA's registry for RFC 4578
_FIXED = struct.Struct("!BBBBIHH4s4s4s4s16s64s128s")
_COOKIE = b"\x63\x82\x53\x63"
_ETHERNET, _MAC_SIZE = 1, 6
_IN_FILE, _IN_SNAME = 1, 2  # values of option 52


class DhcpError(Exception):
    """These bytes are no DHCP or BOOTP message; the text says why. Never leaves the service."""


class MessageType(IntEnum):
    """Values of option 53 (RFC 2132 section 9.6)."""

    DISCOVER = 1
    OFFER = 2
    REQUEST = 3
    DECLINE = 4
    ACK = 5
    NAK = 6
    RELEASE = 7
    INFORM = 8


class Option(IntEnum):
    """Option codes used here (RFC 2132)."""

    PAD = 0
    NETMASK = 1
    ROUTER = 3
    DNS = 6
    HOST_NAME = 12
    DOMAIN_NAME = 15
    MTU = 26
    REQUESTED_ADDRESS = 50
    LEASE_TIME = 51
    OVERLOAD = 52
    MESSAGE_TYPE = 53
    SERVER_ID = 54
    PARAMETER_LIST = 55
    MESSAGE = 56
    MAX_SIZE = 57
    RENEWAL_TIME = 58
    REBINDING_TIME = 59
    VENDOR_CLASS = 60
    TFTP_SERVER = 66
    BOOTFILE = 67
    FQDN = 81  # RFC 4702
    ARCHITECTURE = 93  # RFC 4578, as is the next
    MACHINE_ID = 97
    SEARCH = 119  # RFC 3397
    END = 255


_SIZES = {Option.MESSAGE_TYPE: 1, Option.OVERLOAD: 1, Option.REQUESTED_ADDRESS: 4, Option.SERVER_ID: 4}


@dataclass(frozen=True, kw_only=True, slots=True)
class DhcpMessage:
    """One message; field names are those of RFC 2131 section 2.

    `chaddr` is the client's MAC address (6 bytes), `options` maps an option's code to its bytes in the
    order of the message; `file` is without its final zeros. Fields that no service here uses (hops, secs,
    sname) are not kept.
    """

    op: int
    xid: int
    chaddr: bytes
    flags: int = 0
    ciaddr: IPv4Address = UNSPECIFIED
    yiaddr: IPv4Address = UNSPECIFIED
    siaddr: IPv4Address = UNSPECIFIED
    giaddr: IPv4Address = UNSPECIFIED
    file: bytes = b""
    options: Mapping[int, bytes] = field(default_factory=dict)

    @property
    def message_type(self) -> int | None:
        """Value of option 53; None for plain BOOTP."""
        value = self.options.get(Option.MESSAGE_TYPE)
        return value[0] if value else None

    @property
    def requested_address(self) -> IPv4Address | None:
        """Option 50: the address the client would like."""
        return self._address(Option.REQUESTED_ADDRESS)

    @property
    def server_id(self) -> IPv4Address | None:
        """Option 54: the server this message is for."""
        return self._address(Option.SERVER_ID)

    @property
    def largest_reply(self) -> int:
        """Bytes of the longest message the client takes: 548, or what option 57 allows, less the headers."""
        size = int.from_bytes(self.options.get(Option.MAX_SIZE, b""), "big")
        return max(size, MINIMUM_DATAGRAM) - IP_UDP_HEADERS

    @property
    def wants_http(self) -> bool:
        """Whether the client boots from a URL: it says so (option 60), or is a firmware that can (93)."""
        architectures = self.options.get(Option.ARCHITECTURE, b"")
        kinds = {int.from_bytes(architectures[at : at + 2], "big") for at in range(0, len(architectures), 2)}
        return self.options.get(Option.VENDOR_CLASS, b"").startswith(HTTP_CLIENT) or bool(kinds & HTTP_KINDS)

    def asks_for(self, option: int) -> bool:
        """Is the option in the client's parameter request list (option 55)?"""
        return option in self.options.get(Option.PARAMETER_LIST, b"")

    def _address(self, option: int) -> IPv4Address | None:
        value = self.options.get(option)
        return IPv4Address(value) if value else None


def decode(data: bytes) -> DhcpMessage:
    """Read one message. Raises DhcpError, and nothing else, for bytes that are none."""
    if len(data) < _FIXED.size:
        raise DhcpError(f"{len(data)} bytes are fewer than the fixed {_FIXED.size}")
    op, htype, hlen, _, xid, _, flags, *addresses, chaddr, sname, file = _FIXED.unpack_from(data)
    if op not in (BOOT_REQUEST, BOOT_REPLY):
        raise DhcpError(f"op {op} is neither request nor reply")
    if (htype, hlen) != (_ETHERNET, _MAC_SIZE):
        raise DhcpError(f"hardware type {htype} with {hlen} address bytes is not Ethernet")
    ciaddr, yiaddr, siaddr, giaddr = map(IPv4Address, addresses)
    options, file_name = _decode_options(data[_FIXED.size :], file, sname)
    return DhcpMessage(
        op=op, xid=xid, chaddr=chaddr[:_MAC_SIZE], flags=flags,
        ciaddr=ciaddr, yiaddr=yiaddr, siaddr=siaddr, giaddr=giaddr,
        file=file_name, options=options,
    )  # fmt: skip


def encode(message: DhcpMessage) -> bytes:
    """Write one message, options in the order given, padded to 300 bytes.

    An option of more than 255 bytes is written in parts (RFC 3396).
    """
    fixed = _FIXED.pack(
        message.op, _ETHERNET, _MAC_SIZE, 0, message.xid, 0, message.flags,
        message.ciaddr.packed, message.yiaddr.packed, message.siaddr.packed, message.giaddr.packed,
        message.chaddr, b"", message.file,
    )  # fmt: skip
    options = b"".join(_option(code, value) for code, value in message.options.items())
    return (fixed + _COOKIE + options + bytes((Option.END,))).ljust(MINIMUM_SIZE, b"\0")


def _option(code: int, value: bytes) -> bytes:
    starts = range(0, max(1, len(value)), MAX_OPTION)
    parts = (value[start : start + MAX_OPTION] for start in starts)
    return b"".join(bytes((code, len(part))) + part for part in parts)


def _decode_options(area: bytes, file: bytes, sname: bytes) -> tuple[dict[int, bytes], bytes]:
    """The options, and the file name unless its field holds options."""
    if not area.startswith(_COOKIE):
        return {}, _text(file)
    options = _collect(area[len(_COOKIE) :], {})
    overload = options.pop(Option.OVERLOAD, b"\0")
    if overload not in (b"\0", b"\1", b"\2", b"\3"):
        raise DhcpError("option 52 is not 1, 2 or 3")
    if overload[0] & _IN_FILE:
        _collect(file, options)
    if overload[0] & _IN_SNAME:
        _collect(sname, options)
    for code, size in _SIZES.items():
        if code in options and len(options[code]) != size:
            raise DhcpError(f"option {code} does not have {size} bytes")
    return options, b"" if overload[0] & _IN_FILE else _text(file)


def _text(field_bytes: bytes) -> bytes:
    return field_bytes.partition(b"\0")[0]


def _collect(field_bytes: bytes, options: dict[int, bytes]) -> dict[int, bytes]:
    """Add the options of one field to `options`; the parts of one that comes again are joined."""
    for code, value in _walk(field_bytes):
        options[code] = options.get(code, b"") + value
    return options


def _walk(field_bytes: bytes) -> Iterator[tuple[int, bytes]]:
    position = 0
    while position < len(field_bytes) and (code := field_bytes[position]) != Option.END:
        position += 1
        if code == Option.PAD:
            continue
        if position == len(field_bytes):
            raise DhcpError(f"option {code} has no length")
        start = position + 1
        position = start + field_bytes[position]
        if position > len(field_bytes):
            raise DhcpError(f"option {code} is longer than its field")
        yield code, field_bytes[start:position]
