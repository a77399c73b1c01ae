"""Which of a client's TFTP options are taken up, with which value (RFC 2347, 2348, 2349, 7440)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["BadOptionError", "Terms", "agree"]

DEFAULT_BLOCK = 512
MAX_BLOCK = 65464  # RFC 2348
BLOCK_HEADER = 4
# What one session may have in flight, and so in memory.
MAX_WINDOW_BYTES = 1 << 18
MAX_WINDOW = 64


class BadOptionError(Exception):
    """An option's value is no number; the text is for the client."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Terms:
    """What holds for one transfer: `block` in bytes, `window` in blocks, `timeout` in seconds.

    `accepted` are the options to answer with; without any the transfer starts with the first block.
    """

    block: int = DEFAULT_BLOCK
    window: int = 1
    timeout: float | None = None
    accepted: Mapping[bytes, bytes]


def agree(options: Mapping[bytes, bytes], size: int | None, room: int) -> Terms:
    """The terms for a request with `options`; `size` is the file's in bytes, None where it is not known.

    `room` is the largest UDP payload that needs no fragments. A value that its RFC does not allow, and an
    option not known here, are left out, as the RFCs say. Raises BadOptionError for one that is no number.
    """
    wished = _value(options, b"blksize", 8, MAX_BLOCK)
    # More than the client wished for is not allowed, more than 512 without a wish neither.
    block = DEFAULT_BLOCK if wished is None else min(wished, max(8, room - BLOCK_HEADER))
    windowsize = _value(options, b"windowsize", 1, 65535)
    window = max(1, min(windowsize or 1, MAX_WINDOW, MAX_WINDOW_BYTES // block))
    timeout = _value(options, b"timeout", 1, 255)
    wants_size = _value(options, b"tsize", 0, 1 << 63) is not None
    answers = {
        b"blksize": wished and block,
        b"tsize": size if wants_size else None,
        b"timeout": timeout,
        b"windowsize": windowsize and window,
    }
    accepted = {name: b"%d" % value for name in options if (value := answers.get(name)) is not None}
    return Terms(block=block, window=window, timeout=timeout, accepted=accepted)


def _value(options: Mapping[bytes, bytes], name: bytes, lowest: int, highest: int) -> int | None:
    text = options.get(name)
    if text is None:
        return None
    if not text.isdigit() or len(text) > 20:
        raise BadOptionError(f"Bad value of option {name.decode()}")
    value = int(text)
    return value if lowest <= value <= highest else None
