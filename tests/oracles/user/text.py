"""Values of fields as text that a reviewer can read."""

from __future__ import annotations

import hashlib
from ipaddress import ip_address

Fields = dict[str, str]
LONGEST = 40


def text(data: bytes) -> str:
    """Bytes: as a literal, or for many their number and a digest."""
    if len(data) > LONGEST:
        return f"{len(data)} bytes, {hashlib.sha256(data).hexdigest()[:8]}"
    return repr(data)[2:-1]


def address_of(packed: bytes) -> str:
    """An address of either family."""
    return str(ip_address(packed))
