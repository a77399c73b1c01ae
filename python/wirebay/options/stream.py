"""`-netdev stream`: frames over a stream socket, as QEMU 7.2 and later spell it."""

from __future__ import annotations

from collections.abc import Callable

from wirebay.errors import OptionError
from wirebay.options.reader import Reader, not_served
from wirebay.options.types import FdAddr, InetAddr, StreamOptions, UnixAddr

NOT_SERVED_INET = ("keep-alive-count", "keep-alive-idle", "keep-alive-interval", "mptcp")


def read_stream(ident: str, reader: Reader) -> StreamOptions:
    """Read and check the options of `stream`.

    `reconnect-ms` is milliseconds, 0 for never; a negative one is refused, where QEMU wraps it. Raises
    OptionError with QEMU's sentence.
    """
    section = reader.section("addr")
    kind = section.required("type")
    if kind == "vsock":
        raise not_served("option 'addr.type=vsock' of the stream network")
    if kind not in _ADDRESSES:
        raise OptionError(f"Parameter 'type' does not accept value '{kind}'")
    addr = _ADDRESSES[kind](section)
    section.finish()
    server = reader.boolean("server") or False
    reconnect_ms = reader.integer("reconnect-ms", "uint32_t")
    reader.finish()
    if server and reconnect_ms is not None:
        raise OptionError("'reconnect-ms' option is incompatible with socket in server mode")
    return StreamOptions(id=ident, server=server, addr=addr, reconnect_ms=reconnect_ms or 0)


def _inet(section: Reader) -> InetAddr:
    section.refuse(NOT_SERVED_INET, "stream")
    return InetAddr(
        host=section.required("host"),
        port=section.required("port"),
        numeric=section.boolean("numeric") or False,
        to=section.integer("to", "uint16_t"),
        ipv4=section.boolean("ipv4"),
        ipv6=section.boolean("ipv6"),
        keep_alive=section.boolean("keep-alive") or False,
    )


def _unix(section: Reader) -> UnixAddr:
    return UnixAddr(
        path=section.required("path"),
        abstract=section.boolean("abstract") or False,
        tight=section.boolean("tight") is not False,
    )


def _fd(section: Reader) -> FdAddr:
    return FdAddr(fd=section.required("str"))


_ADDRESSES: dict[str, Callable[[Reader], InetAddr | UnixAddr | FdAddr]] = {
    "inet": _inet,
    "unix": _unix,
    "fd": _fd,
}
