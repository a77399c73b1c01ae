"""`-netdev socket`: the older spelling of `stream` and `dgram`, IPv4 only."""

from __future__ import annotations

from wirebay.errors import OptionError
from wirebay.options.addresses import parse_ipv4
from wirebay.options.dgram import check_local
from wirebay.options.link_types import FdAddr, InetAddr, SocketOptions
from wirebay.options.reader import Reader
from wirebay.options.socket_addr import parse_host_port
from wirebay.options.tap import parse_descriptor

MODES = ("fd", "listen", "connect", "mcast", "udp")


def read_socket(ident: str, reader: Reader) -> SocketOptions:
    """Read and check the options of `socket`. Raises OptionError with QEMU's sentence."""
    given = {name: text for name in MODES if (text := reader.string(name)) is not None}
    local = reader.string("localaddr")
    reader.finish()
    if len(given) != 1:
        raise OptionError("exactly one of listen=, connect=, mcast= or udp= is required")
    ((mode, text),) = given.items()
    if local is not None and mode not in ("mcast", "udp"):
        raise OptionError("localaddr= is only valid with mcast= or udp=")
    if mode == "udp" and local is None:
        raise OptionError("localaddr= is mandatory with udp=")
    if mode == "fd":
        return SocketOptions(id=ident, fd=FdAddr(fd=str(parse_descriptor(text))))
    addr = parse_host_port(text)
    if mode == "mcast":
        return SocketOptions(id=ident, mcast=_group(addr), localaddr=_interface(local))
    if mode == "udp":
        assert local is not None
        return SocketOptions(id=ident, udp=addr, localaddr=parse_host_port(local))
    return SocketOptions(id=ident, listen=addr) if mode == "listen" else SocketOptions(id=ident, connect=addr)


def _group(addr: InetAddr) -> InetAddr:
    address = parse_ipv4(addr.host)
    if address is None:
        raise OptionError(f"can't resolve host address '{addr.host}'")
    if not address.is_multicast:
        number = f"0x{int(address):08x}"
        raise OptionError(f"specified mcastaddr {addr.host} ({number}) does not contain a multicast address")
    return addr


def _interface(text: str | None) -> InetAddr | None:
    if text is None:
        return None
    check_local(text)
    return InetAddr(host=text, port="", ipv4=True)
