"""`-netdev vxlan`, ours: a VXLAN segment (RFC 7348) whose other hosts are listed."""

from __future__ import annotations

from wirebay.errors import OptionError
from wirebay.options.link_types import InetAddr, VxlanOptions
from wirebay.options.reader import Reader
from wirebay.options.socket_addr import parse_endpoint

PORT = 4789  # RFC 7348 section 5
MAX_VNI = (1 << 24) - 1
MAX_REMOTES = 1024


def read_vxlan(ident: str, reader: Reader) -> VxlanOptions:
    """Read and check `vni`, `remote` (repeated), `local` and `port`. Raises OptionError."""
    vni, port = reader.integer("vni", "uint32_t"), reader.integer("port", "uint16_t")
    remotes, local = reader.strings("remote"), reader.string("local")
    reader.finish()
    if vni is None:
        raise reader.missing("vni")
    if vni > MAX_VNI:
        raise OptionError(f"Parameter 'vni' expects a number of 24 bits, {vni} is more")
    if not remotes:
        raise reader.missing("remote")
    if len(remotes) > MAX_REMOTES:
        raise OptionError(f"Parameter 'remote' cannot be given more than {MAX_REMOTES} times")
    port = PORT if port is None else port
    return VxlanOptions(
        id=ident,
        vni=vni,
        remote=tuple(parse_endpoint(text, str(port or PORT)) for text in remotes),
        local=InetAddr(host=local or "", port=str(port)),
    )
