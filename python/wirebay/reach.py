"""Which of IPv4 and IPv6 lead anywhere from this host."""

from __future__ import annotations

import socket
from typing import Literal

__all__ = ["has_way"]

# Addresses of the outside that are nobody's (RFC 5737, RFC 3849); the port is any.
_OUTSIDE = {4: (socket.AF_INET, "192.0.2.1"), 6: (socket.AF_INET6, "2001:db8::1")}


def has_way(version: Literal[4, 6]) -> bool:
    """Whether this host has an address and a route to the outside over IPv4 or IPv6. Sends nothing."""
    family, outside = _OUTSIDE[version]
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((outside, 9))
    except OSError:
        return False
    return True
