"""`-netdev vde`: a port of a VDE switch, or a switch of our own that VDE clients find."""

from __future__ import annotations

from wirebay.errors import OptionError
from wirebay.options.link_types import VdeOptions
from wirebay.options.reader import Reader
from wirebay.options.stream import read_max_peers

MAX_CLIENTS = 32


def read_vde(ident: str, reader: Reader) -> VdeOptions:
    """Read and check the options of `vde`; `server`, `max-peers` and `reconnect-ms` are ours.

    Raises OptionError with QEMU's sentence.
    """
    server = reader.boolean("server") or False
    sock, group = reader.string("sock"), reader.string("group")
    port, mode = reader.integer("port", "uint16_t"), reader.integer("mode", "uint16_t")
    reconnect_ms, max_peers = reader.integer("reconnect-ms", "uint32_t"), read_max_peers(reader, server)
    reader.finish()
    if server and not sock:
        raise reader.missing("sock")
    if server and reconnect_ms is not None:
        raise OptionError("'reconnect-ms' option is incompatible with socket in server mode")
    if server and port is not None:
        raise OptionError("'port' option is incompatible with server=on")
    return VdeOptions(
        id=ident,
        sock=sock or "",
        port=port or 0,
        group=group,
        mode=0o700 if mode is None else mode,
        server=server,
        reconnect_ms=reconnect_ms or 0,
        max_peers=max_peers or MAX_CLIENTS,
    )
