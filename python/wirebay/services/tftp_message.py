"""TFTP packets as bytes: reading and writing, nothing else (RFC 1350 section 5, RFC 2347).

A packet is an operation of two bytes and what belongs to it: two texts that end with a zero (requests, with
options as more pairs of texts), a block number and data, a block number, an error code and a text, or pairs
of texts alone (OACK).

Bytes come from guests: whatever they are, `decode` returns a packet or raises TftpError.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum

__all__ = [
    "Ack", "Code", "Data", "Error", "OptionAck", "Packet", "Request", "TftpError", "decode", "encode",
]  # fmt: skip

RRQ, WRQ, DATA, ACK, ERROR, OACK = range(1, 7)
_PAIR = struct.Struct("!HH")


class TftpError(Exception):
    """These bytes are no TFTP packet; the text says why. Never leaves the service."""


class Code(IntEnum):
    """Error codes used here (RFC 1350 section 5, RFC 2347)."""

    NOT_DEFINED = 0
    NOT_FOUND = 1
    ACCESS_VIOLATION = 2
    ILLEGAL_OPERATION = 4
    BAD_OPTION = 8


@dataclass(frozen=True, slots=True)
class Request:
    """A read (RRQ) or `write` (WRQ) request. Texts are bytes as they came; names of options in lower case."""

    name: bytes
    mode: bytes
    options: Mapping[bytes, bytes] = field(default_factory=dict)
    write: bool = False


@dataclass(frozen=True, slots=True)
class Data:
    """One block of the file; `block` counts from 1 and wraps after 65535."""

    block: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Ack:
    """Everything up to `block` has arrived; 0 takes the options up."""

    block: int


@dataclass(frozen=True, slots=True)
class Error:
    """The transfer ends; `code` is one of `Code`, or whatever a client says."""

    code: int
    text: bytes


@dataclass(frozen=True, slots=True)
class OptionAck:
    """The options that the server takes up."""

    options: Mapping[bytes, bytes]


Packet = Request | Data | Ack | Error | OptionAck


def decode(data: bytes) -> Packet:
    """Read one packet. Raises TftpError, and nothing else, for bytes that are none."""
    if len(data) < 2:
        raise TftpError(f"{len(data)} bytes have no operation")
    operation, rest = int.from_bytes(data[:2], "big"), data[2:]
    if operation in (RRQ, WRQ):
        return _request(rest, write=operation == WRQ)
    if operation == OACK:
        return OptionAck(_options(_texts(rest)))
    if operation not in (DATA, ACK, ERROR):
        raise TftpError(f"there is no operation {operation}")
    if len(rest) < 2:
        raise TftpError(f"{len(data)} bytes are too few for operation {operation}")
    number, rest = int.from_bytes(rest[:2], "big"), rest[2:]
    if operation == DATA:
        return Data(number, rest)
    # Some clients leave the zero after an error's text out, or send a longer acknowledgement.
    return Ack(number) if operation == ACK else Error(number, rest.partition(b"\0")[0])


def encode(packet: Packet) -> bytes:
    """Write one packet."""
    match packet:
        case Request():
            operation = WRQ if packet.write else RRQ
            texts = [packet.name, packet.mode, *_flat(packet.options)]
            return operation.to_bytes(2, "big") + _zero_ended(texts)
        case Data():
            return _PAIR.pack(DATA, packet.block) + packet.data
        case Ack():
            return _PAIR.pack(ACK, packet.block)
        case Error():
            return _PAIR.pack(ERROR, packet.code) + packet.text + b"\0"
        case OptionAck():
            return OACK.to_bytes(2, "big") + _zero_ended(_flat(packet.options))


def _request(rest: bytes, *, write: bool) -> Request:
    texts = _texts(rest)
    if len(texts) < 2:
        raise TftpError("the request has no name and mode")
    name, mode, *pairs = texts
    return Request(name, mode.lower(), _options(pairs), write)


def _texts(data: bytes) -> list[bytes]:
    if not data.endswith(b"\0"):
        raise TftpError("the last text has no end")
    return data[:-1].split(b"\0")


def _options(texts: list[bytes]) -> dict[bytes, bytes]:
    """Pairs of texts as a mapping; RFC 2347 forbids an option to come twice, here the first counts."""
    if len(texts) % 2:
        raise TftpError("an option has no value")
    options: dict[bytes, bytes] = {}
    for name, value in zip(texts[::2], texts[1::2], strict=True):
        options.setdefault(name.lower(), value)
    return options


def _flat(options: Mapping[bytes, bytes]) -> Iterator[bytes]:
    for pair in options.items():
        yield from pair


def _zero_ended(texts: Iterator[bytes] | list[bytes]) -> bytes:
    return b"".join(text + b"\0" for text in texts)
