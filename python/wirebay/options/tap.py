"""`-netdev tap`: a TAP device of the host, or of another network namespace."""

from __future__ import annotations

from wirebay.errors import OptionError
from wirebay.options.reader import Reader, not_served
from wirebay.options.types import TapOptions

MAX_IFNAME = 15  # IFNAMSIZ - 1

NOT_SERVED = ("fds", "br", "helper", "sndbuf", "vhostfd", "vhostfds", "poll-us")


def read_tap(ident: str, reader: Reader) -> TapOptions:
    """Read and check the options of `tap`.

    Ours in addition: `netns`. Wirebay runs no script: `script` and `downscript` take `no` alone, and that is
    the default. `queues=1` and `vhost=off` are taken as the defaults they are. A name too long for an
    interface is refused, where QEMU cuts it. Raises OptionError with QEMU's sentence.
    """
    reader.refuse(NOT_SERVED, "tap")
    scripts = [_no_script(reader, name) for name in ("script", "downscript")]
    queues = reader.integer("queues", "uint32_t")
    for name in ("vhost", "vhostforce"):
        if reader.boolean(name):
            raise not_served(f"option '{name}=on' of the tap network")
    ifname, fd, netns = reader.string("ifname"), reader.string("fd"), reader.string("netns")
    vnet_hdr = reader.boolean("vnet_hdr")
    reader.finish()
    _check_queues(queues, fd)
    if fd is not None and (ifname is not None or vnet_hdr is not None or any(scripts)):
        raise OptionError("ifname=, script=, downscript=, vnet_hdr= are invalid with fd=/fds=/helper=")
    if fd is not None and netns is not None:
        raise OptionError("netns= is invalid with fd=")
    return TapOptions(id=ident, ifname=_ifname(ifname), fd=_descriptor(fd), netns=netns, vnet_hdr=vnet_hdr)


def _no_script(reader: Reader, name: str) -> bool:
    """Whether the option was given, as it may be: only to say that there is no script."""
    path = reader.string(name)
    if path not in (None, "", "no"):
        raise not_served(f"option '{name}={path}' of the tap network")
    return path is not None


def _check_queues(queues: int | None, fd: str | None) -> None:
    if queues is None:
        return
    if queues == 0:
        raise OptionError("queues must be greater than zero")
    if fd is not None:
        raise OptionError("queues=, helper=, fds= and fd= are mutual exclusive")
    if queues > 1:
        raise not_served(f"option 'queues={queues}' of the tap network")


def _ifname(name: str | None) -> str | None:
    if name and len(name.encode(errors="surrogateescape")) > MAX_IFNAME:
        raise OptionError(f"Parameter 'ifname' cannot exceed {MAX_IFNAME} bytes, '{name}' does")
    return name or None


def _descriptor(text: str | None) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise OptionError(f"Invalid file descriptor number '{text}'")
    return int(text)
