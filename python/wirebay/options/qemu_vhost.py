"""Which user networks of QEMU's command line go over vhost-user, and what else has to change for that.

`auto` takes it where nothing speaks against it and leaves the rest on stream sockets; `vhost-user` refuses a
command line on which a network cannot have it; `stream` takes it nowhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from wirebay.errors import OptionError
from wirebay.options.qemu_cards import OwnCard, own_card
from wirebay.options.qemu_memory import NotShared, memory_words
from wirebay.options.qemu_networks import NetworkOption
from wirebay.options.qemu_words import QemuOption

Kind = Literal["auto", "stream", "vhost-user"]
KINDS: tuple[Kind, ...] = get_args(Kind)
NO_CARD = "it has no virtio-net card to itself"


@dataclass(frozen=True, slots=True)
class Transport:
    """How QEMU is to be reached, and whether its cards must do without MSI-X (`vectors=0`) on vhost-user."""

    kind: Kind = "stream"
    without_vectors: bool = False


@dataclass(slots=True)
class Sharing:
    """The networks that go over vhost-user, each with its card, and the words that share the memory.

    `reasons` has a sentence for each network that does not.
    """

    cards: dict[int, OwnCard] = field(default_factory=dict)
    memory: list[str] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)

    def card(self, network: NetworkOption) -> OwnCard | None:
        """The card of a network on vhost-user; None for one on a stream socket."""
        return self.cards.get(id(network))


def share(
    argv: Sequence[str],
    options: Sequence[QemuOption],
    networks: Iterable[NetworkOption],
    *,
    hubs_for_cards: bool,
    transport: Transport,
    memory_id: str,
) -> Sharing:
    """Choose for each user network. `hubs_for_cards`: a `-nic` cannot become a `-net nic` here.

    Raises OptionError where vhost-user is demanded and cannot be.
    """
    sharing = Sharing()
    if transport.kind == "stream":
        return sharing
    for network in networks:
        on_a_hub = hubs_for_cards and network.option.name == "nic"
        card = None if on_a_hub else own_card(network, options)
        if card:
            sharing.cards[id(network)] = card
        else:
            sharing.reasons.append(f"{network.option}: {NO_CARD}")
    if sharing.cards:
        _share_memory(sharing, argv, options, memory_id)
    if sharing.reasons and transport.kind == "vhost-user":
        raise OptionError(f"--transport vhost-user: {sharing.reasons[0]}")
    return sharing


def _share_memory(
    sharing: Sharing, argv: Sequence[str], options: Sequence[QemuOption], memory_id: str
) -> None:
    try:
        sharing.memory = memory_words(argv, options, memory_id)
    except NotShared as reason:
        sharing.cards.clear()
        sharing.reasons.append(str(reason))
