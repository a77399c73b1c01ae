"""DHCPv6 messages as bytes (RFC 8415): reading and writing, nothing else.

A message is a type, a transaction id of three bytes, and options: code, length, value. Some options hold
options again: an IA_NA, which is an address wanted or given, holds IAADDRs, and both may hold a status.

Bytes come from guests: whatever they are, `decode` returns a message or raises Dhcp6Error.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv6Address

__all__ = [
    "Dhcp6Error",
    "Dhcp6Message",
    "IaAddress",
    "IaNa",
    "Kind",
    "Option",
    "Status",
    "decode",
    "decode_ia_na",
    "encode",
    "encode_ia_na",
    "status_option",
]

_HEADER = struct.Struct("!I")
_OPTION = struct.Struct("!HH")
_IA_NA = struct.Struct("!III")
_IAADDR = struct.Struct("!16sII")


class Dhcp6Error(Exception):
    """These bytes are no DHCPv6 message; the text says why. Never leaves the service."""


class Kind(IntEnum):
    """Message types (RFC 8415 section 7.3)."""

    SOLICIT = 1
    ADVERTISE = 2
    REQUEST = 3
    CONFIRM = 4
    RENEW = 5
    REBIND = 6
    REPLY = 7
    RELEASE = 8
    DECLINE = 9
    INFORMATION_REQUEST = 11


class Option(IntEnum):
    """Option codes used here (RFC 8415 section 21, and where another is named)."""

    CLIENT_ID = 1
    SERVER_ID = 2
    IA_NA = 3
    IA_TA = 4
    IAADDR = 5
    REQUESTED = 6
    PREFERENCE = 7
    STATUS = 13
    RAPID_COMMIT = 14
    VENDOR_CLASS = 16
    DNS = 23  # RFC 3646, as is the next
    SEARCH = 24
    IA_PD = 25
    FQDN = 39  # RFC 4704
    BOOT_URL = 59  # RFC 5970


class Status(IntEnum):
    """Status codes (RFC 8415 section 21.13)."""

    SUCCESS = 0
    NO_ADDRS_AVAIL = 2
    NO_BINDING = 3
    NOT_ON_LINK = 4
    USE_MULTICAST = 5
    NO_PREFIX_AVAIL = 6


OptionPair = tuple[int, bytes]


@dataclass(frozen=True, kw_only=True, slots=True)
class Dhcp6Message:
    """One message. `options` are codes and values in their order; an option may come several times."""

    kind: int
    xid: int
    options: tuple[OptionPair, ...] = ()

    def option(self, code: int) -> bytes | None:
        """The first option with this code."""
        return next(iter(self.all(code)), None)

    def all(self, code: int) -> list[bytes]:
        """All options with this code."""
        return [value for found, value in self.options if found == code]

    def asks_for(self, code: int) -> bool:
        """Is the option in the client's list (option 6)?"""
        wanted = self.option(Option.REQUESTED) or b""
        return code.to_bytes(2, "big") in (wanted[at : at + 2] for at in range(0, len(wanted), 2))


@dataclass(frozen=True, kw_only=True, slots=True)
class IaAddress:
    """An address of an IA_NA; times are in seconds."""

    address: IPv6Address
    preferred: int = 0
    valid: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class IaNa:
    """An identity association for addresses; `t1` and `t2` are in seconds, `options` what else it holds."""

    iaid: int
    t1: int = 0
    t2: int = 0
    addresses: tuple[IaAddress, ...] = ()
    options: tuple[OptionPair, ...] = ()


def decode(data: bytes) -> Dhcp6Message:
    """Read one message. Raises Dhcp6Error, and nothing else, for bytes that are none."""
    if len(data) < _HEADER.size:
        raise Dhcp6Error(f"{len(data)} bytes are fewer than the {_HEADER.size} of the header")
    (head,) = _HEADER.unpack_from(data)
    return Dhcp6Message(kind=head >> 24, xid=head & 0xFFFFFF, options=_decode_options(data[_HEADER.size :]))


def encode(message: Dhcp6Message) -> bytes:
    """Write one message. Values must be shorter than 64 KiB: what we send is ours, and never that long."""
    return _HEADER.pack(message.kind << 24 | message.xid) + _encode_options(message.options)


def decode_ia_na(value: bytes) -> IaNa:
    """Read the value of an IA_NA. Raises Dhcp6Error for bytes that are none."""
    if len(value) < _IA_NA.size:
        raise Dhcp6Error(f"an IA_NA of {len(value)} bytes has no times")
    iaid, t1, t2 = _IA_NA.unpack_from(value)
    options = _decode_options(value[_IA_NA.size :])
    return IaNa(
        iaid=iaid,
        t1=t1,
        t2=t2,
        addresses=tuple(_decode_address(inner) for code, inner in options if code == Option.IAADDR),
        options=tuple(option for option in options if option[0] != Option.IAADDR),
    )


def encode_ia_na(ia: IaNa) -> bytes:
    """Write the value of an IA_NA, its addresses first."""
    addresses = (
        (Option.IAADDR, _IAADDR.pack(inner.address.packed, inner.preferred, inner.valid))
        for inner in ia.addresses
    )
    return _IA_NA.pack(ia.iaid, ia.t1, ia.t2) + _encode_options([*addresses, *ia.options])


def status_option(status: Status, text: str = "") -> OptionPair:
    """The option that says how it went."""
    return Option.STATUS, status.to_bytes(2, "big") + text.encode()


def _decode_address(value: bytes) -> IaAddress:
    """Options inside, which only a server has to send, are passed over."""
    if len(value) < _IAADDR.size:
        raise Dhcp6Error(f"an IAADDR of {len(value)} bytes has no times")
    packed, preferred, valid = _IAADDR.unpack_from(value)
    return IaAddress(address=IPv6Address(packed), preferred=preferred, valid=valid)


def _decode_options(data: bytes) -> tuple[OptionPair, ...]:
    options: list[OptionPair] = []
    position = 0
    while position < len(data):
        if len(data) - position < _OPTION.size:
            raise Dhcp6Error("an option has no length")
        code, size = _OPTION.unpack_from(data, position)
        start = position + _OPTION.size
        position = start + size
        if position > len(data):
            raise Dhcp6Error(f"option {code} is longer than its message")
        options.append((code, data[start:position]))
    return tuple(options)


def _encode_options(options: Iterable[OptionPair] | Sequence[OptionPair]) -> bytes:
    return b"".join(_OPTION.pack(code, len(value)) + value for code, value in options)
