"""`-netdev stream`: frames over a stream socket, as QEMU 7.2 and later spell it."""

from __future__ import annotations

from wirebay.errors import OptionError
from wirebay.options.link_types import StreamOptions
from wirebay.options.reader import Reader
from wirebay.options.socket_addr import NOT_SERVED_INET, read_addr

__all__ = ["NOT_SERVED_INET", "read_max_peers", "read_stream"]

MAX_PEERS = 1024


def read_stream(ident: str, reader: Reader) -> StreamOptions:
    """Read and check the options of `stream`.

    `reconnect-ms` is milliseconds, 0 for never; a negative one is refused, where QEMU wraps it. Ours:
    `max-peers`. Raises OptionError with QEMU's sentence.
    """
    addr = read_addr(reader.section("addr"), "addr", "stream")
    server = reader.boolean("server") or False
    reconnect_ms = reader.integer("reconnect-ms", "uint32_t")
    max_peers = read_max_peers(reader, server)
    reader.finish()
    if server and reconnect_ms is not None:
        raise OptionError("'reconnect-ms' option is incompatible with socket in server mode")
    return StreamOptions(
        id=ident, server=server, addr=addr, reconnect_ms=reconnect_ms or 0, max_peers=max_peers or 1
    )


def read_max_peers(reader: Reader, server: bool) -> int | None:
    """Read `max-peers`, which only a server has."""
    max_peers = reader.integer("max-peers", "uint32_t")
    if max_peers is None:
        return None
    if not server:
        raise OptionError("'max-peers' option is only valid with server=on")
    if not 1 <= max_peers <= MAX_PEERS:
        raise OptionError(f"Parameter 'max-peers' expects a number from 1 to {MAX_PEERS}")
    return max_peers
