"""Sizes as QEMU writes them: a number of bytes, with an optional k, M, G or T (powers of 1024)."""

from __future__ import annotations

import re

_SIZE = re.compile(r"([0-9]+)([bkmgt]?)", re.IGNORECASE)
_POWERS = {"": 0, "b": 0, "k": 10, "m": 20, "g": 30, "t": 40}


def parse_size(text: str) -> int | None:
    """The number of bytes that `text` stands for; None when it is no size."""
    match = _SIZE.fullmatch(text) if len(text) <= 32 else None
    return None if match is None else int(match[1]) << _POWERS[match[2].lower()]
