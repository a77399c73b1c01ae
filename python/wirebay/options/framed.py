"""The framings of others, ours: `-netdev vfkit`, `-netdev bess` and `-netdev stdio`."""

from __future__ import annotations

from wirebay.errors import OptionError
from wirebay.options.link_types import BessOptions, StdioOptions, VfkitOptions
from wirebay.options.reader import Reader


def read_vfkit(ident: str, reader: Reader) -> VfkitOptions:
    """Read the options of `vfkit`: `path`. Raises OptionError."""
    path = reader.required("path")
    reader.finish()
    return VfkitOptions(id=ident, path=path)


def read_bess(ident: str, reader: Reader) -> BessOptions:
    """Read the options of `bess`: `path`, `server`, `reconnect-ms`. Raises OptionError."""
    path, server = reader.required("path"), reader.boolean("server") or False
    reconnect_ms = reader.integer("reconnect-ms", "uint32_t")
    reader.finish()
    if server and reconnect_ms is not None:
        raise OptionError("'reconnect-ms' option is incompatible with socket in server mode")
    return BessOptions(id=ident, path=path, server=server, reconnect_ms=reconnect_ms or 0)


def read_stdio(ident: str, reader: Reader) -> StdioOptions:
    """Read the options of `stdio`: `framing`, which is qemu or vpnkit. Raises OptionError."""
    framing = reader.string("framing") or "qemu"
    reader.finish()
    if framing not in ("qemu", "vpnkit"):
        raise OptionError(f"Parameter 'framing' does not accept value '{framing}'")
    return StdioOptions(id=ident, framing="qemu" if framing == "qemu" else "vpnkit")
