"""`-chardev socket`: the connections of filters. QEMU's other back ends make no sense for frames."""

from __future__ import annotations

from dataclasses import dataclass

from wirebay.errors import OptionError
from wirebay.options.grammar import parse_pairs
from wirebay.options.reader import OldReader, Reader, not_served
from wirebay.options.types import FdAddr, InetAddr, UnixAddr

# Back ends of QEMU 11.1; everything else is a misspelling.
NOT_SERVED = frozenset((
    "null", "udp", "msmouse", "vc", "ringbuf", "file", "pipe", "pty", "stdio", "serial", "tty", "parallel",
    "parport", "braille", "testdev", "spicevmc", "spiceport", "hub", "dbus", "qemu-vdagent",
))  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class ChardevOptions:
    """`socket`: a stream socket. `reconnect_ms` is when a client tries again, 0 for never."""

    id: str
    addr: InetAddr | UnixAddr | FdAddr
    server: bool = False
    reconnect_ms: int = 0


def parse_chardev(text: str) -> ChardevOptions:
    """Read the argument of `-chardev`, in QEMU's old spelling.

    `wait` is taken and nobody waits: a filter goes on without its peer until there is one. Raises
    OptionError.
    """
    # The implied key is `backend` here.
    return read_chardev(
        OldReader([("backend" if name == "type" else name, value) for name, value in parse_pairs(text)])
    )


def read_chardev(reader: Reader) -> ChardevOptions:
    """Read options from a reader of the caller's. Raises OptionError."""
    if reader.string("id") is None:
        raise OptionError("chardev: no id specified")
    ident, backend = reader.identifier(), reader.string("backend")
    if backend is None:
        raise OptionError(f'chardev: "{ident}" missing backend')
    if backend in NOT_SERVED:
        raise not_served(f"chardev backend '{backend}'")
    if backend != "socket":
        raise OptionError(f"'{backend}' is not a valid char driver name")
    return _read_socket(ident, reader)


def _read_socket(ident: str, reader: Reader) -> ChardevOptions:
    server, addr = reader.boolean("server") or False, _address(reader)
    wait, reconnect = reader.boolean("wait"), _reconnect(reader)
    reader.boolean("nodelay")  # a socket for frames always has it
    reader.finish()
    if wait is not None and not server:
        raise OptionError("'wait' option is incompatible with socket in client connect mode")
    if reconnect and server:
        raise OptionError("'reconnect' option is incompatible with socket in server listen mode")
    return ChardevOptions(id=ident, addr=addr, server=server, reconnect_ms=reconnect)


def _reconnect(reader: Reader) -> int:
    seconds, milliseconds = (
        reader.integer("reconnect", "uint32_t"),
        reader.integer("reconnect-ms", "uint32_t"),
    )
    if seconds is not None and milliseconds is not None:
        raise OptionError("'reconnect' and 'reconnect-ms' are mutually exclusive")
    return milliseconds or (seconds or 0) * 1000


def _address(reader: Reader) -> InetAddr | UnixAddr | FdAddr:
    path, host, fd = reader.string("path"), reader.string("host"), reader.string("fd")
    port = reader.string("port")
    if sum(name is not None for name in (path, host or port, fd)) != 1:
        raise OptionError("None or one of 'path', 'fd' or 'host' option required.")
    if path is not None:
        abstract, tight = reader.boolean("abstract"), reader.boolean("tight")
        return UnixAddr(path=path, abstract=abstract or False, tight=tight is not False)
    if fd is not None:
        return FdAddr(fd=fd)
    port = reader.string("port")
    if port is None:
        raise OptionError(
            "chardev: socket: no port given" if host is not None else "chardev: socket: no host given"
        )
    return InetAddr(
        host=host or "",
        port=port,
        to=reader.integer("to", "uint16_t"),
        ipv4=reader.boolean("ipv4"),
        ipv6=reader.boolean("ipv6"),
    )
