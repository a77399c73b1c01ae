"""`-netdev vhost-user`: a guest's rings in shared memory; Wirebay is the other end of QEMU's chardev."""

from __future__ import annotations

from wirebay.errors import OptionError
from wirebay.options.reader import Reader
from wirebay.options.types import VhostUserOptions


def read_vhost_user(ident: str, reader: Reader) -> VhostUserOptions:
    """Read and check the options of `vhost-user`.

    `path` is the unix socket that the VMM's chardev has; `server` is on by default, because a VMM mostly
    connects. `reconnect-ms` is milliseconds, 0 for never. Raises OptionError.
    """
    if reader.string("chardev") is not None:
        raise OptionError("vhost-user takes 'path=' here: the socket that QEMU's chardev connects to")
    path = reader.required("path")
    server = reader.boolean("server") is not False
    offloads = reader.boolean("offloads") is not False
    reconnect_ms = reader.integer("reconnect-ms", "uint32_t")
    reader.finish()
    if server and reconnect_ms is not None:
        raise OptionError("'reconnect-ms' option is incompatible with socket in server mode")
    return VhostUserOptions(
        id=ident, path=path, server=server, offloads=offloads, reconnect_ms=reconnect_ms or 0
    )
