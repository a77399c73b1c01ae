"""A card as `wirebay card` takes it: `MODEL[,mac=MAC][,rom=FILE][,trace=FILE]`, spelled as for -device."""

from __future__ import annotations

import re
from dataclasses import dataclass

from wirebay.errors import OptionError
from wirebay.options.grammar import parse_pairs

DEFAULT_MAC = bytes.fromhex("525400123456")  # QEMU's
MAC = re.compile(r"(?:[0-9a-fA-F]{2}[:-]){5}[0-9a-fA-F]{2}")


@dataclass(frozen=True, kw_only=True, slots=True)
class CardOptions:
    """`mac` has 6 bytes; `rom` and `trace` are paths, `trace` "-" is standard error."""

    model: str
    mac: bytes = DEFAULT_MAC
    rom: str | None = None
    trace: str | None = None


def parse_card(text: str) -> CardOptions:
    """Take the options apart. Raises OptionError; whether there is such a model is not looked at."""
    model = ""
    values: dict[str, str] = {}
    for name, value in parse_pairs(text, warn=False):
        if name == "type" and not model:
            model = value
        elif name in ("mac", "rom", "trace"):
            values[name] = value
        else:
            raise OptionError(f"Property '{model}.{name}' not found")
    mac = parse_mac(values.pop("mac")) if "mac" in values else DEFAULT_MAC
    return CardOptions(model=model, mac=mac, **values)


def parse_mac(text: str) -> bytes:
    """The six bytes of a card's own address. Raises OptionError."""
    if not MAC.fullmatch(text):
        raise OptionError(f"mac={text}: six bytes are expected, as in 52:54:00:12:34:56")
    mac = bytes.fromhex(text.replace("-", ":").replace(":", ""))
    if mac[0] & 1:
        raise OptionError(f"mac={text} is the address of a group; no card can have it")
    return mac
