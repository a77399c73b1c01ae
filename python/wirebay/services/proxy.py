"""PROXY protocol headers as bytes: who a connection came from, told at its start.

The protocol is that of HAProxy (doc/proxy-protocol.txt, sections 2.1 and 2.2). Version 2 is binary: a
signature of 12 bytes, version and command, family and protocol, a length, and so many bytes of addresses
and further fields (TLV), which are not read here. Version 1 is one line of text. We take both and send
version 2.

A header is read piece by piece, as far as it surely goes and never beyond: `missing` says how many bytes more
belong to it whatever they are. So what follows stays in the socket for whoever gets it.

Bytes come from anybody who can connect: whatever they are, the functions return or raise ProxyError.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

from wirebay.options.types import Address

__all__ = ["Peers", "ProxyError", "decode", "encode", "missing"]

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
TEXT = b"PROXY "
MAX_TEXT = 107  # section 2.1, with its CR LF
MAX_BINARY = 4096  # of addresses and fields; the longest that is known to be sent is some hundred bytes
_FIXED = struct.Struct("!12sBBH")
_LOCAL, _PROXY = 0x20, 0x21
_TCP4, _TCP6 = 0x11, 0x21
_PORTS = struct.Struct("!HH")


class ProxyError(Exception):
    """These bytes are no PROXY header; the text says why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Peers:
    """Both ends of the connection at the proxy, of one family."""

    source: Address
    destination: Address
    source_port: int
    destination_port: int


def missing(head: bytes) -> int:
    """How many more bytes are surely part of the header that begins with `head`; 0 when it is whole.

    Raises ProxyError as soon as it cannot become one.
    """
    start = head[: len(SIGNATURE)]
    if SIGNATURE.startswith(start) and len(start) < len(SIGNATURE):
        return len(SIGNATURE) - len(start)  # also where it is empty: a line of text is longer
    if start == SIGNATURE:
        return _missing_binary(head)
    if not TEXT.startswith(head[: len(TEXT)]):
        raise ProxyError("it begins with no PROXY header")
    return _missing_text(head)


def decode(head: bytes) -> Peers | None:
    """Read a whole header; None where it tells no TCP connection (LOCAL, UNSPEC, UNKNOWN).

    Raises ProxyError.
    """
    if missing(head):
        raise ProxyError("it ends too early")
    return _decode_binary(head) if head.startswith(SIGNATURE) else _decode_text(head)


def encode(peers: Peers | None) -> bytes:
    """A header of version 2; None is LOCAL: the connection is the proxy's own."""
    if peers is None:
        return _FIXED.pack(SIGNATURE, _LOCAL, 0, 0)
    family = _TCP4 if peers.source.version == 4 else _TCP6
    addresses = peers.source.packed + peers.destination.packed
    addresses += _PORTS.pack(peers.source_port, peers.destination_port)
    return _FIXED.pack(SIGNATURE, _PROXY, family, len(addresses)) + addresses


def _missing_binary(head: bytes) -> int:
    if len(head) < _FIXED.size:
        return _FIXED.size - len(head)
    command: int
    length: int
    _, command, _, length = _FIXED.unpack_from(head)
    if command not in (_LOCAL, _PROXY):
        raise ProxyError(f"version and command 0x{command:02x} are not known")
    if length > MAX_BINARY:
        raise ProxyError(f"its {length} bytes are more than {MAX_BINARY}")
    if len(head) > _FIXED.size + length:
        raise ProxyError("bytes follow it")
    return _FIXED.size + length - len(head)


def _missing_text(head: bytes) -> int:
    line, end, rest = head.partition(b"\r\n")
    if rest:
        raise ProxyError("bytes follow it")
    if len(line) + 2 > MAX_TEXT:
        raise ProxyError(f"its line is longer than {MAX_TEXT} bytes")
    if end:
        return 0
    if len(head) < len(TEXT):
        return len(TEXT) - len(head)
    return 1 if head.endswith(b"\r") else 2


def _decode_binary(head: bytes) -> Peers | None:
    _, command, family, _ = _FIXED.unpack_from(head)
    size = {_TCP4: 4, _TCP6: 16}.get(family)
    if command == _LOCAL or size is None:
        return None
    fields = head[_FIXED.size :]
    if len(fields) < 2 * size + _PORTS.size:
        raise ProxyError("its addresses are cut off")
    kind = IPv4Address if size == 4 else IPv6Address
    source_port, destination_port = _PORTS.unpack_from(fields, 2 * size)
    return Peers(
        source=kind(fields[:size]),
        destination=kind(fields[size : 2 * size]),
        source_port=source_port,
        destination_port=destination_port,
    )


def _decode_text(head: bytes) -> Peers | None:
    words = head[: -len(b"\r\n")].decode("ascii", "replace").split(" ")
    if words[1] == "UNKNOWN":
        return None
    version = {"TCP4": 4, "TCP6": 6}.get(words[1])
    if version is None or len(words) != 6:
        raise ProxyError("its line is malformed")
    try:
        source, destination = ip_address(words[2]), ip_address(words[3])
    except ValueError:
        raise ProxyError("its line has a malformed address") from None
    if {source.version, destination.version} != {version}:
        raise ProxyError("its line has addresses of another family")
    return Peers(
        source=source,
        destination=destination,
        source_port=_port(words[4]),
        destination_port=_port(words[5]),
    )


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and int(text) <= 65535):
        raise ProxyError("its line has a malformed port")
    return int(text)
