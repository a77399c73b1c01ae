"""`-netdev l2tpv3`: an L2TPv3 tunnel with a fixed session."""

from __future__ import annotations

from wirebay.errors import OptionError
from wirebay.options.link_types import L2tpv3Options
from wirebay.options.reader import Reader

MAX_OFFSET = 256
COOKIES = ("rxcookie", "txcookie")


def read_l2tpv3(ident: str, reader: Reader) -> L2tpv3Options:
    """Read and check the options of `l2tpv3`.

    `cookie64=off` means what it says, where QEMU takes its presence for on. A cookie that does not fit its
    32 bits is refused, where QEMU cuts it. Raises OptionError with QEMU's sentence.
    """
    switches = {name: reader.boolean(name) or False for name in ("ipv6", "udp", "cookie64")}
    switches |= {name: reader.boolean(name) or False for name in ("counter", "pincounter")}
    txsession = _session(reader)
    rxsession = reader.integer("rxsession", "uint32_t")
    options = L2tpv3Options(
        id=ident,
        src=reader.required("src"),
        dst=reader.required("dst"),
        srcport=reader.string("srcport"),
        dstport=reader.string("dstport"),
        txsession=txsession,
        rxsession=txsession if rxsession is None else rxsession,
        offset=reader.integer("offset", "uint32_t") or 0,
        rxcookie=reader.integer("rxcookie", "uint64_t"),
        txcookie=reader.integer("txcookie", "uint64_t"),
        **switches,
    )
    reader.finish()
    _check(options)
    return options


def _session(reader: Reader) -> int:
    session = reader.integer("txsession", "uint32_t")
    if session is None:
        raise reader.missing("txsession")
    return session


def _check(options: L2tpv3Options) -> None:
    if options.offset > MAX_OFFSET:
        raise OptionError(f"offset must be less than {MAX_OFFSET} bytes")
    if options.udp and (options.srcport is None or options.dstport is None):
        raise OptionError("need both src and dst port for udp")
    if (options.rxcookie is None) != (options.txcookie is None):
        raise OptionError("require both 'rxcookie' and 'txcookie' or neither")
    for name in COOKIES:
        cookie = getattr(options, name)
        if cookie is not None and not options.cookie64 and cookie >= 1 << 32:
            raise OptionError(f"{name}={cookie:#x} has more than 32 bits: it needs cookie64=on")
