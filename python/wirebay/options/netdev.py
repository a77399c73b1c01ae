"""What `-netdev` takes: from any spelling to one typed object."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from wirebay.errors import OptionError
from wirebay.options.dgram import read_dgram
from wirebay.options.framed import read_bess, read_stdio, read_vfkit
from wirebay.options.grammar import Pairs, last, parse_json, parse_keyval, parse_pairs
from wirebay.options.l2tpv3 import read_l2tpv3
from wirebay.options.passt import read_passt
from wirebay.options.reader import KeyvalReader, ObjectReader, OldReader, Reader
from wirebay.options.refused import INSTEAD, refuse
from wirebay.options.socket import read_socket
from wirebay.options.stream import read_stream
from wirebay.options.switchport import read_switchport
from wirebay.options.tap import read_bridge, read_tap
from wirebay.options.types import (
    BridgeOptions,
    FdAddr,
    HostForward,
    HubportOptions,
    InetAddr,
    Netdev,
    StreamOptions,
    SwitchportOptions,
    TapOptions,
    UnixAddr,
    UserOptions,
)
from wirebay.options.user import read_user
from wirebay.options.vde import read_vde
from wirebay.options.vhost_user import read_vhost_user
from wirebay.options.vxlan import read_vxlan

__all__ = [
    "BridgeOptions",
    "FdAddr",
    "HostForward",
    "HubportOptions",
    "InetAddr",
    "Netdev",
    "StreamOptions",
    "SwitchportOptions",
    "TapOptions",
    "UnixAddr",
    "UserOptions",
    "netdev_from_dict",
    "netdev_from_pairs",
    "netdev_readers",
    "parse_netdev",
    "read_netdev",
]

KEYVAL_TYPES = frozenset({"stream", "dgram"})


def parse_netdev(text: str) -> Netdev:
    """Read the argument of `-netdev` in any of QEMU's spellings.

    `stream` and `dgram` are read as keyval, everything else as the old spelling; what begins with a brace is
    JSON. Raises OptionError. Gives an OptionWarning for a bare boolean.
    """
    if text.startswith("{"):
        return netdev_from_dict(parse_json(text))
    pairs = parse_pairs(text, warn=False)
    if last(pairs, "type") in KEYVAL_TYPES:
        return _read(KeyvalReader(parse_keyval(text)))
    return netdev_from_pairs(parse_pairs(text))


def netdev_from_pairs(pairs: Pairs) -> Netdev:
    """Read options in the old spelling, already taken apart. Raises OptionError."""
    return _read(OldReader(pairs))


def netdev_from_dict(values: Mapping[str, object]) -> Netdev:
    """Read options as JSON has them: `{"type": "user", "id": "u0", "hostfwd": [{"str": "tcp::2222-:22"}]}`.

    List elements may also be plain texts; paths, addresses and numbers are taken where a text is expected,
    and None is as good as absent. Raises OptionError.
    """
    return _read(ObjectReader(values))


def read_netdev(reader: Reader) -> Netdev:
    """Read options from a reader of the caller's. Raises OptionError."""
    return _read(reader)


def netdev_readers() -> Mapping[str, Callable[[str, Reader], Netdev]]:
    """The function that reads the options of each type, by the type's name."""
    return MappingProxyType(_READERS)


def _read(reader: Reader) -> Netdev:
    ident, kind = reader.identifier(), reader.required("type")
    if kind in INSTEAD:
        raise refuse(kind)
    if kind not in _READERS:
        raise OptionError(f"Parameter 'type' does not accept value '{kind}'")
    return _READERS[kind](ident, reader)


def _read_hubport(ident: str, reader: Reader) -> HubportOptions:
    hubid, netdev = reader.integer("hubid", "int32_t"), reader.string("netdev")
    if hubid is None:
        raise reader.missing("hubid")
    reader.finish()
    return HubportOptions(id=ident, hubid=hubid, netdev=netdev)


_READERS: dict[str, Callable[[str, Reader], Netdev]] = {
    "bess": read_bess,
    "bridge": read_bridge,
    "dgram": read_dgram,
    "hubport": _read_hubport,
    "l2tpv3": read_l2tpv3,
    "passt": read_passt,
    "socket": read_socket,
    "stdio": read_stdio,
    "stream": read_stream,
    "switchport": read_switchport,
    "tap": read_tap,
    "user": read_user,
    "vde": read_vde,
    "vfkit": read_vfkit,
    "vhost-user": read_vhost_user,
    "vxlan": read_vxlan,
}
