"""Which user networks of QEMU's command line have a virtio-net card to themselves, as vhost-user needs it.

The card of a vhost-user network must be its direct peer, and the only one: no hub between them, no filter on
it (QEMU refuses those), no address translation of the card's own (`iommu_platform`) and no stand-in for it
(`failover`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from wirebay.options.grammar import IMPLIED_KEY
from wirebay.options.qemu_memory import YES, properties
from wirebay.options.qemu_networks import NetworkOption
from wirebay.options.qemu_words import QemuOption
from wirebay.options.reader import parse_number

PCI_CARDS = ("virtio-net-pci", "virtio-net-pci-transitional", "virtio-net-pci-non-transitional")
# QEMU's own check of the card's name: it refuses the alias virtio-net.
DEVICES = (*PCI_CARDS, "virtio-net-device")
BOARD_CARDS = (*PCI_CARDS, "virtio")
IN_THE_WAY = ("iommu_platform", "failover")


@dataclass(frozen=True, slots=True)
class OwnCard:
    """The option that makes a network's card, and whether it has interrupt vectors to be taken away."""

    option: QemuOption
    has_vectors: bool


def own_card(network: NetworkOption, options: Sequence[QemuOption]) -> OwnCard | None:
    """The virtio-net card that is on this user network alone; None if there is another or none.

    A `-nic` is its own card; `-net user` has one where it and one `-net nic` are alone on hub 0.
    """
    option = network.option
    others = [other for other in options if other is not option]
    if option.name == "nic":
        taken = network.id is not None and any(_netdev(other) == network.id for other in others)
        return None if taken else _card(option, "model", BOARD_CARDS)
    found = _on_hub_0(others) if option.name == "net" else [o for o in others if _netdev(o) == network.id]
    if len(found) != 1:
        return None
    (other,) = found
    if other.name == "device":
        key = "driver" if (other.value or "").startswith("{") else IMPLIED_KEY
        return _card(other, key, DEVICES)
    is_card = other.name == "net" and properties(other).get(IMPLIED_KEY) == "nic"
    return _card(other, "model", BOARD_CARDS) if is_card else None


def _card(option: QemuOption, key: str, models: Sequence[str]) -> OwnCard | None:
    card = properties(option)
    model = card.get(key, card.get("driver"))
    if model not in models or any(card.get(name) in YES for name in IN_THE_WAY):
        return None
    return OwnCard(option, has_vectors=model != "virtio-net-device" and "vectors" not in card)


def _netdev(option: QemuOption) -> object:
    """The network an option speaks of."""
    return properties(option).get("netdev")


def _on_hub_0(options: Sequence[QemuOption]) -> list[QemuOption]:
    """What is on the hub of `-net`; a `-net nic` with a network of its own is not."""
    return [option for option in options if _is_on_hub_0(option.name, properties(option))]


def _is_on_hub_0(name: str, given: Mapping[str, object]) -> bool:
    kind = given.get(IMPLIED_KEY)
    if name == "net":
        return kind != "none" and "netdev" not in given
    return kind == "hubport" and parse_number(str(given.get("hubid", ""))) == 0


def with_properties(option: QemuOption, extra: Mapping[str, str]) -> list[str]:
    """The words of a card's option with properties added at its end."""
    dashed, value = option.words
    if value.startswith("{"):
        typed = {name: int(text) if text.isdigit() else text for name, text in extra.items()}
        return [dashed, json.dumps({**properties(option), **typed})]
    return [dashed, ",".join([value, *(f"{name}={text}" for name, text in extra.items())])]
