"""What QEMU's command line says about networks, read only as far as is needed to rewrite it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from wirebay.errors import OptionError
from wirebay.options.grammar import Pairs, last, parse_json, parse_pairs
from wirebay.options.netdev import KEYVAL_TYPES
from wirebay.options.qemu_words import QemuOption
from wirebay.options.reader import parse_number

NETWORK_OPTIONS = ("netdev", "nic", "net")
MACHINE_OPTIONS = ("machine", "M")
HELP = ("help", "?")

# On these the default network has no card, so nobody could use it.
MACHINES_WITHOUT_NIC = ("none", "microvm", "x-remote")


@dataclass(frozen=True, kw_only=True, slots=True)
class NetworkOption:
    """A -netdev, -nic or -net: whose it is and what it is called.

    `group` is the list in which QEMU first looks for a duplicate id, "" for options in the newer spellings,
    which have none.
    """

    option: QemuOption
    type: str | None
    id: str | None
    group: str = ""
    asks_for_help: bool = False

    @property
    def is_user(self) -> bool:
        """Whether it makes a user network, and so is to be rewritten."""
        return self.type == "user" and not self.asks_for_help

    @property
    def makes_card(self) -> bool:
        """Whether it makes a card on the machine's board."""
        if self.option.name == "nic":
            return self.type not in ("none", *HELP)
        return self.option.name == "net" and self.type == "nic"


def read_network(option: QemuOption) -> NetworkOption | None:
    """Read an option; None if it is not about networks. What is malformed is left for QEMU to refuse."""
    if option.name not in NETWORK_OPTIONS or option.value is None:
        return None
    if option.name == "netdev" and option.value.startswith("{"):
        return _read_json(option, option.value)
    pairs = parse_pairs(option.value, warn=False)
    kind = last(pairs, "type")
    if option.name == "nic" and kind is None:
        kind = "user"
    return NetworkOption(
        option=option,
        type=kind,
        id=last(pairs, "id"),
        group="" if option.name == "netdev" and kind in KEYVAL_TYPES else option.name,
        asks_for_help=option.name == "nic" and last(pairs, "model") in HELP,
    )


def _read_json(option: QemuOption, text: str) -> NetworkOption:
    try:
        tree = parse_json(text)
    except OptionError:
        tree = {}
    kind, ident = tree.get("type"), tree.get("id")
    return NetworkOption(
        option=option,
        type=kind if isinstance(kind, str) else None,
        id=ident if isinstance(ident, str) else None,
    )


def check_duplicates(found: Sequence[NetworkOption]) -> None:
    """Refuse, in QEMU's words, an id that a user network shares; all others are QEMU's to judge."""
    for number, second in enumerate(found):
        for first in found[:number]:
            if second.id is None or first.id != second.id or not (first.is_user or second.is_user):
                continue
            if first.group and first.group == second.group:
                raise OptionError(f"{second.option}: Duplicate ID '{second.id}' for {second.group}")
            if "none" not in (first.type, second.type):
                raise OptionError(f"{second.option}: Duplicate ID '{second.id}'")


def order_forbids_net(found: Sequence[NetworkOption]) -> bool:
    """Whether turning each `-nic user` into a `-net nic` would change the order of the cards.

    It would if a `-nic` stays, since all `-nic` come first, or if a `-net nic` stands before one of ours.
    """
    ours = [network.option.name == "nic" and network.is_user for network in found if network.makes_card]
    stays = [network.option.name == "nic" and not network.is_user for network in found if network.makes_card]
    return any(stays) or ours != sorted(ours, reverse=True)


def has_default_network(options: Sequence[QemuOption]) -> bool:
    """Whether QEMU makes a network and a card unasked, given that no option asks for one."""
    if any(option.name == "nodefaults" for option in options):
        return False
    machines = [
        last(parse_pairs(option.value or "", warn=False), "type")
        for option in options
        if option.name in MACHINE_OPTIONS
    ]
    chosen = [machine for machine in machines if machine is not None]
    return not chosen or chosen[-1] not in MACHINES_WITHOUT_NIC


def hub_ids(argv: Sequence[str]) -> Iterator[int]:
    """Every number that is, or looks like, the id of a hub."""
    for word in argv:
        for match in re.finditer(r"""hubid["']?\s*[:=]\s*(\w+)""", word):
            number = parse_number(match[1])
            if number is not None:
                yield number


def card_properties(pairs: Pairs) -> tuple[dict[str, str], Pairs]:
    """Part the options of a `-nic`: those of the card (`model`, `mac`), and those of the network behind it.

    Raises OptionError, with QEMU's words, for a MAC address that no card can have.
    """
    card = {name: value for name, value in pairs if name in ("model", "mac")}
    if "mac" in card:
        _check_mac(card["mac"])
    return card, [pair for pair in pairs if pair[0] not in card]


def _check_mac(text: str) -> None:
    """Six bytes with colons or dashes, or a number that gives the last three bytes."""
    number = 0 if text == "" else parse_number(text)
    if number is not None and 0 <= number <= 0xFFFFFF:
        return
    if not re.fullmatch(r"[0-9a-fA-F]{1,2}([:-][0-9a-fA-F]{1,2}){5}", text):
        raise OptionError("invalid syntax for ethernet address")
    if int(re.split("[:-]", text)[0], 16) & 1:
        raise OptionError("NIC cannot have multicast MAC address")
