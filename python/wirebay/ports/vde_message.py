"""What VDE 2 says on its control connection (libvdeplug 2): a request, and where frames go from then on.

A client connects to `ctl` in the switch's directory and sends, in the byte order of the host: the magic
number, the version, what it wants (in the low byte; above it the number of a port), the address of its own
datagram socket, and a text about itself. The switch answers with the address of a datagram socket of its own.
Then frames go between these two sockets, and closing the connection gives the port back.
"""

from __future__ import annotations

import os
import socket
import struct
from dataclasses import dataclass

MAGIC = 0xFEEDFACE
VERSION = 3
NEW_CONTROL = 0
MAX_TEXT = 128
PATH_SIZE = 108

_ADDRESS = struct.Struct(f"=H{PATH_SIZE}s")
_HEAD = struct.Struct("=III")
MIN_REQUEST = _HEAD.size + _ADDRESS.size
MAX_REQUEST = MIN_REQUEST + MAX_TEXT
REPLY_SIZE = _ADDRESS.size


class VdeError(ValueError):
    """The bytes are no message of VDE's; its text says why."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asks for: any port (0) or the one of a number, for the datagram socket at `path`."""

    path: str
    port: int = 0
    text: str = ""

    def pack(self) -> bytes:
        """The bytes of it. The path must fit an address."""
        head = _HEAD.pack(MAGIC, VERSION, NEW_CONTROL | self.port << 8)
        return head + pack_address(self.path) + os.fsencode(self.text)[:MAX_TEXT]


def parse_request(data: bytes) -> Request:
    """Take a request apart. Raises VdeError."""
    if len(data) < MIN_REQUEST:
        raise VdeError("the request is cut off")
    magic, version, kind = _HEAD.unpack_from(data)
    if magic != MAGIC:
        raise VdeError("the request does not begin with VDE's magic number")
    if version != VERSION:
        raise VdeError(f"the request is of version {version}, not {VERSION}")
    if kind & 0xFF != NEW_CONTROL:
        raise VdeError(f"the request is of an unknown type, {kind & 0xFF}")
    path = parse_address(data[_HEAD.size :])
    text = data[MIN_REQUEST:MAX_REQUEST].partition(b"\0")[0].decode(errors="replace")
    return Request(path=path, port=kind >> 8, text=text)


def pack_address(path: str) -> bytes:
    """The address of a unix socket, as a request and a reply have it."""
    raw = os.fsencode(path)
    if len(raw) >= PATH_SIZE:
        raise VdeError(f"the path '{path}' is too long for the address of a socket")
    return _ADDRESS.pack(socket.AF_UNIX, raw)


def parse_address(data: bytes) -> str:
    """The path in such an address. Raises VdeError."""
    if len(data) < _ADDRESS.size:
        raise VdeError("the address is cut off")
    family, raw = _ADDRESS.unpack_from(data)
    path = os.fsdecode(raw.partition(b"\0")[0])
    if family != socket.AF_UNIX or not path:
        raise VdeError("the address is not the path of a unix socket")
    return path
