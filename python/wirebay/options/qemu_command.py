"""QEMU's command line with its user networks moved out to Wirebay.

`rewrite` changes only the words that ask for a user network; everything else stays byte for byte, in order.
Each user network becomes a `-netdev stream` that connects to a unix socket, and the guest's cards stay what
they were: same models, same MAC addresses, same order, same hubs.

- `-netdev user,id=u0,...` becomes `-netdev stream,id=u0,...`
- `-nic user,model=M,mac=A,...` becomes that and `-net nic,netdev=X,model=M,macaddr=A`;
- or, where the order of the cards forbids `-net`, that and `-netdev hubport,id=Y,hubid=N,netdev=X` and
  `-nic hubport,hubid=N,model=M,mac=A`
- `-net user,...` becomes that and `-netdev hubport,id=Y,hubid=0,netdev=X`
- where no option asks for a network, QEMU's default one is given as `-netdev stream,...` and
  `-net nic,netdev=X`

Where the card is a virtio-net one, the network may go over vhost-user instead (`qemu_vhost.py`):
`-chardev socket,id=C,path=P -netdev vhost-user,id=X,chardev=C`, without hubs: `-net nic` gets `netdev=X`.

The order of the cards: QEMU makes all `-nic` cards before all `-net nic` ones, so a `-nic` may only turn into
a `-net nic` when no other card then changes places with it. The hub is a detour, so it is not always taken.

What a file given by `-readconfig` asks for cannot be seen here and stays with QEMU.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from wirebay.errors import OptionError
from wirebay.options.grammar import Pairs, escape, last, parse_pairs
from wirebay.options.netdev import netdev_from_pairs, parse_netdev
from wirebay.options.qemu_cards import with_properties
from wirebay.options.qemu_networks import (
    NetworkOption,
    card_properties,
    check_duplicates,
    has_default_network,
    hub_ids,
    order_forbids_net,
    read_network,
)
from wirebay.options.qemu_vhost import NO_CARD, Sharing, Transport, share
from wirebay.options.qemu_words import QemuOption, split_options
from wirebay.options.types import UserOptions

# `-net user` and `-net nic` meet on this hub.
DEFAULT_HUB = 0


@dataclass(frozen=True, slots=True)
class Served:
    """A user network to serve, the path of the socket to listen on, and what QEMU speaks there."""

    user: UserOptions
    path: str
    vhost_user: bool = False


@dataclass(frozen=True, slots=True)
class Rewritten:
    """QEMU's command line, the user networks to serve, and why some of them are not on vhost-user."""

    argv: list[str]
    networks: list[Served] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)


STREAM = Transport()


def rewrite(argv: Sequence[str], socket_dir: str, transport: Transport = STREAM) -> Rewritten:
    """Rewrite QEMU's command line `argv` (program first) for sockets in the directory `socket_dir`.

    Pure: touches no file. Raises OptionError, naming the option, for one that is wrong or not served.
    """
    options = split_options(argv[1:])
    if any(option.name in ("h", "help", "version") for option in options):
        return Rewritten(list(argv))
    found = [read_network(option) for option in options]
    rewriter = _Rewriter(argv, options, [network for network in found if network is not None], socket_dir)
    rewriter.choose(transport)
    groups = [
        rewriter.words(network) if network is not None and network.is_user else option.words
        for option, network in zip(options, found, strict=True)
    ]
    groups = [rewriter.cards.get(id(option), words) for option, words in zip(options, groups, strict=True)]
    if not any(found) and has_default_network(options):
        # An option cut off at the end is left for QEMU to complain about, not given our word as its argument.
        at = len(groups) - (1 if options and options[-1].is_cut_off else 0)
        groups.insert(at, rewriter.default_network(transport))
    if rewriter.networks:
        _refuse_daemonize(options)
    words = [word for group in groups for word in group]
    return Rewritten([*argv[:1], *words], rewriter.networks, rewriter.sharing.reasons)


class _Rewriter:
    """Gives each user network its words, and collects what is to be served.

    `cards` has the words of the cards that change with their networks, by the identity of their options.
    """

    def __init__(
        self,
        argv: Sequence[str],
        options: Sequence[QemuOption],
        found: Sequence[NetworkOption],
        socket_dir: str,
    ) -> None:
        check_duplicates(found)
        self.networks: list[Served] = []
        self.cards: dict[int, Sequence[str]] = {}
        self.sharing = Sharing()
        self._argv, self._options, self._found = argv, options, found
        self._socket_dir = socket_dir
        self._hubs_for_cards = order_forbids_net(found)
        self._hubs = {DEFAULT_HUB, *hub_ids(argv)}
        self._taken = [*argv]
        self._without_vectors = False

    def choose(self, transport: Transport) -> None:
        """Decide which networks go over vhost-user. Raises OptionError."""
        self._without_vectors = transport.without_vectors
        self.sharing = share(
            self._argv,
            self._options,
            [network for network in self._found if network.is_user],
            hubs_for_cards=self._hubs_for_cards,
            transport=transport,
            memory_id=self._free_id("-memory"),
        )

    def words(self, network: NetworkOption) -> Sequence[str]:
        """The words to put in place of a user network. Raises OptionError."""
        rewriters = {"netdev": self._netdev, "nic": self._nic, "net": self._net}
        try:
            return rewriters[network.option.name](network, network.option.value or "")
        except OptionError as error:
            raise OptionError(f"{network.option}: {error}") from None

    def default_network(self, transport: Transport) -> Sequence[str]:
        """The words for QEMU's default: the machine's usual card on a user network. Raises OptionError."""
        if transport.kind == "vhost-user":
            raise OptionError(f"--transport vhost-user: QEMU's default network: {NO_CARD}")
        user = self._user([("type", "user")])
        return [*self._stream(user), *self._net_nic(user, {})]

    def _netdev(self, network: NetworkOption, text: str) -> list[str]:
        user = parse_netdev(text)
        assert isinstance(user, UserOptions)
        return self._vhost_user(network, user) or self._stream(user)

    def _nic(self, network: NetworkOption, text: str) -> list[str]:
        card, backend = card_properties(parse_pairs(text))
        user = self._user([("type", "user"), *backend])
        if shared := self._vhost_user(network, user):
            return [*shared, *self._net_nic(user, {**card, **self._card_extras(network)})]
        if not self._hubs_for_cards:
            return [*self._stream(user), *self._net_nic(user, card)]
        hub = self._free_hub()
        return [
            *self._stream(user),
            *self._hubport(user, hub),
            *("-nic", _joined(f"hubport,hubid={hub}", card)),
        ]

    def _net(self, network: NetworkOption, text: str) -> list[str]:
        user = self._user(parse_pairs(text))
        if shared := self._vhost_user(network, user, {"netdev": user.id}):
            return shared
        return [*self._stream(user), *self._hubport(user, DEFAULT_HUB)]

    def _net_nic(self, user: UserOptions, card: dict[str, str]) -> list[str]:
        renamed = {"macaddr" if name == "mac" else name: value for name, value in card.items()}
        return ["-net", _joined(f"nic,netdev={user.id}", renamed)]

    def _user(self, pairs: Pairs) -> UserOptions:
        """The user network of options that need not have an id."""
        ident = [] if last(pairs, "id") is not None else [("id", self._free_id())]
        user = netdev_from_pairs([*pairs, *ident])
        assert isinstance(user, UserOptions)
        return user

    def _stream(self, user: UserOptions) -> list[str]:
        path = self._serve(user)
        return ["-netdev", f"stream,id={user.id},server=off,addr.type=unix,addr.path={escape(path)}"]

    def _vhost_user(
        self, network: NetworkOption, user: UserOptions, extras: Mapping[str, str] | None = None
    ) -> list[str]:
        """The words for a network on vhost-user, none for another; its card gets `extras`."""
        card = self.sharing.card(network)
        if card is None:
            return []
        extras = {**(extras or {}), **self._card_extras(network)}
        if extras and card.option is not network.option:
            self.cards[id(card.option)] = with_properties(card.option, extras)
        chardev = self._free_id()
        path = self._serve(user, vhost_user=True)
        memory, self.sharing.memory = self.sharing.memory, []  # once, before the first network that needs it
        return [
            *memory,
            *("-chardev", f"socket,id={chardev},path={escape(path)}"),
            *("-netdev", f"vhost-user,id={user.id},chardev={chardev}"),
        ]

    def _card_extras(self, network: NetworkOption) -> dict[str, str]:
        card = self.sharing.card(network)
        return {"vectors": "0"} if self._without_vectors and card and card.has_vectors else {}

    def _serve(self, user: UserOptions, *, vhost_user: bool = False) -> str:
        path = f"{self._socket_dir}/net{len(self.networks)}.sock"
        self.networks.append(Served(user, path, vhost_user))
        return path

    def _hubport(self, user: UserOptions, hub: int) -> list[str]:
        return ["-netdev", f"hubport,id={self._free_id()},hubid={hub},netdev={user.id}"]

    def _free_id(self, what: str = "") -> str:
        """An id that nothing on the command line mentions."""
        number = 0
        while any(f"wirebay{what}{number}" in word for word in self._taken):
            number += 1
        self._taken.append(f"wirebay{what}{number}")
        return f"wirebay{what}{number}"

    def _free_hub(self) -> int:
        number = next(number for number in range(len(self._hubs) + 1) if number not in self._hubs)
        self._hubs.add(number)
        return number


def _joined(head: str, properties: dict[str, str]) -> str:
    return ",".join([head, *(f"{name}={escape(value)}" for name, value in properties.items())])


def _refuse_daemonize(options: Sequence[QemuOption]) -> None:
    if any(option.name == "daemonize" for option in options):
        raise OptionError(
            "-daemonize: QEMU would outlive the network served to it; put wirebay in the background instead"
        )
