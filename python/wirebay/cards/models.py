"""The cards there are, by the names QEMU has for them. Imported when used."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import cast

from wirebay.cards.card import Card
from wirebay.errors import OptionError

MODELS = {
    "ne2k_pci": "wirebay.cards.ne2000:Ne2kPci",
    "ne2k_isa": "wirebay.cards.ne2000:Ne2000",
    "e1000": "wirebay.cards.e1000:E1000",
    "rtl8139": "wirebay.cards.rtl8139:Rtl8139",
    "pcnet": "wirebay.cards.pcnet:Pcnet",
    "virtio-net-pci": "wirebay.cards.virtio_net:VirtioNet",
}


def card_class(model: str) -> type[Card]:
    """The class of a model. Raises OptionError when there is none."""
    if model not in MODELS:
        raise OptionError(f"'{model}' is no card; the cards are {', '.join(MODELS)}")
    module, name = MODELS[model].split(":")
    return cast(type[Card], getattr(importlib.import_module(module), name))


def table() -> str:
    """All models: name, ids, resources, Linux drivers."""
    rows = [("MODEL", "PCI ID", "BARS", "DRIVERS", "WHAT IT IS")]
    for model in MODELS:
        card = card_class(model)
        identity = card.identity
        bars = " ".join(f"{'io' if bar.io else 'mem'}:{bar.size}" for bar in identity.bars)
        rows.append((model, f"{identity.vendor:04x}:{identity.device:04x}", bars, card.drivers, card.title))
    return layout(rows)


def registers(model: str) -> str:
    """The registers of a model: space, offset, size, name, access, bits. Raises OptionError."""
    rows = [("SPACE", "OFFSET", "SIZE", "NAME", "ACCESS", "WHAT IT IS", "BITS")]
    for register in card_class(model).registers():
        count = f"[{register.count}]" if register.count > 1 else ""
        bits = " ".join(register.bits.masks())
        place = (register.space or "-", f"{register.offset:#06x}", str(register.size))
        rows.append((*place, register.name + count, register.access, register.doc, bits))
    return layout(rows)


def layout(rows: Sequence[tuple[str, ...]]) -> str:
    """The rows with their columns one below the other."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)
