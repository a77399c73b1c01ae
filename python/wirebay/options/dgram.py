"""`-netdev dgram`: a frame in each datagram."""

from __future__ import annotations

from wirebay.errors import OptionError
from wirebay.options.addresses import parse_ipv4, parse_ipv6
from wirebay.options.link_types import DgramOptions, FdAddr, InetAddr, SocketAddr, UnixAddr
from wirebay.options.reader import Reader
from wirebay.options.socket_addr import read_addr


def read_dgram(ident: str, reader: Reader) -> DgramOptions:
    """Read and check the options of `dgram`; IPv6 is ours. Raises OptionError with QEMU's sentence."""
    local, remote = (_optional(reader, name) for name in ("local", "remote"))
    reader.finish()
    if isinstance(remote, InetAddr) and is_multicast(remote):
        _check_multicast(local, remote)
    else:
        _check_unicast(local, remote)
    assert not isinstance(remote, FdAddr)
    return DgramOptions(id=ident, local=local, remote=remote)


def is_multicast(addr: InetAddr) -> bool:
    """Whether the host is the address of a multicast group. A name never is: it could become one later."""
    address = parse_ipv4(addr.host) or parse_ipv6(addr.host.partition("%")[0])
    return address is not None and address.is_multicast


def _optional(reader: Reader, name: str) -> SocketAddr | None:
    return read_addr(reader.section(name), name, "dgram") if reader.has(name) else None


def _check_multicast(local: SocketAddr | None, remote: InetAddr) -> None:
    if isinstance(local, UnixAddr):
        raise OptionError("only support inet or fd type for local")
    if isinstance(local, InetAddr) and parse_ipv6(remote.host.partition("%")[0]) is None:
        check_local(local.host)


def check_local(host: str) -> None:
    """Raise OptionError when it is no IPv4 address, as that of the interface of a group must be."""
    if parse_ipv4(host) is None:
        raise OptionError(f"localaddr '{host}' is not a valid IPv4 address")


def _check_unicast(local: SocketAddr | None, remote: SocketAddr | None) -> None:
    if local is None:
        raise OptionError("dgram requires local= parameter")
    if isinstance(local, FdAddr):
        if remote is not None:
            raise OptionError("don't set remote with local.fd")
    elif remote is None:
        raise OptionError("type=inet or type=unix requires remote parameter")
    elif type(local) is not type(remote):
        raise OptionError("remote and local types must be the same")
