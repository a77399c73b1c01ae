"""`-netdev tap` and `-netdev bridge`: a TAP device of the host, or of another network namespace."""

from __future__ import annotations

import re
from typing import NamedTuple

from wirebay.errors import OptionError
from wirebay.options.link_types import BridgeOptions, TapOptions
from wirebay.options.reader import Reader

MAX_IFNAME = 15  # IFNAMSIZ - 1
MAX_SNDBUF = (1 << 31) - 1
DEFAULT_BRIDGE = "br0"
SCRIPTS = ("script", "downscript")

# The options of vhost-net, by the way QEMU reads them.
VHOST_SWITCHES = ("vhost", "vhostforce")
VHOST_TEXTS = ("vhostfd", "vhostfds", "poll-us")
NOT_SERVED = (*VHOST_SWITCHES, *VHOST_TEXTS)

_SIZE = re.compile(r"(\d+)([bkmgtpe]?)", re.IGNORECASE)
_POWERS: dict[str, int] = {unit: 1024**power for power, unit in enumerate("bkmgtpe")} | {"": 1}


def read_tap(ident: str, reader: Reader) -> TapOptions:
    """Read and check the options of `tap`.

    Ours in addition: `netns`, where QEMU's default scripts are not run. `queues=1` and `vhost=off` are taken
    as the defaults they are. A name too long for an interface is refused, where QEMU cuts it. Raises
    OptionError with QEMU's sentence.
    """
    _check_vhost(reader)
    fd = _one_descriptor(reader)
    texts = {
        name: reader.string(name) for name in ("ifname", "script", "downscript", "netns", "helper", "br")
    }
    vnet_hdr, sndbuf = reader.boolean("vnet_hdr"), _size(reader, "sndbuf")
    queues = reader.integer("queues", "uint32_t")
    reader.finish()
    _check_exclusions(texts, fd, queues, vnet_hdr)
    return TapOptions(
        id=ident,
        ifname=_ifname(texts["ifname"]),
        fd=fd,
        netns=texts["netns"],
        vnet_hdr=vnet_hdr,
        script=_script(texts["script"]),
        downscript=_script(texts["downscript"]),
        helper=texts["helper"],
        br=_bridge(texts["br"]),
        sndbuf=sndbuf,
    )


def read_bridge(ident: str, reader: Reader) -> BridgeOptions:
    """Read the options of `bridge`. Raises OptionError."""
    br, helper = reader.string("br"), reader.string("helper")
    reader.finish()
    if helper is None:
        return BridgeOptions(id=ident, br=_bridge(br))
    return BridgeOptions(id=ident, br=_bridge(br), helper=helper)


def parse_descriptor(text: str) -> int:
    """The number of an inherited descriptor. Raises OptionError."""
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise OptionError(f"Invalid file descriptor number '{text}'")
    return int(text)


def _check_vhost(reader: Reader) -> None:
    asked = [name for name in VHOST_SWITCHES if reader.boolean(name)]
    asked += [name for name in VHOST_TEXTS if reader.string(name) not in (None, "0", "")]
    if asked:
        raise OptionError(
            f"option '{asked[0]}' of the tap network: vhost-net joins a TAP to the guest of the QEMU that "
            "opens it, and these frames go through wirebay; vnet_hdr=on gives the same offloads"
        )


def _one_descriptor(reader: Reader) -> int | None:
    fd, fds = reader.string("fd"), reader.string("fds")
    if fds is None:
        return None if fd is None else parse_descriptor(fd)
    if fd is not None:
        raise OptionError("queues=, helper=, fds= and fd= are mutual exclusive")
    numbers = [parse_descriptor(text) for text in fds.split(":")]
    if len(numbers) > 1:
        raise _too_many_queues(f"fds={fds}")
    return numbers[0]


def _too_many_queues(option: str) -> OptionError:
    return OptionError(f"option '{option}' of the tap network: wirebay moves frames through one queue a TAP")


class _Source(NamedTuple):
    """Where the TAP is to come from, as far as it was said."""

    queues: int | None
    fd: int | None
    helper: str | None


def _check_exclusions(
    texts: dict[str, str | None], fd: int | None, queues: int | None, vnet_hdr: bool | None
) -> None:
    source = _Source(queues, fd, texts["helper"])
    if queues == 0:
        raise OptionError("queues must be greater than zero")
    if sum(given is not None for given in source) > 1:
        raise OptionError("queues=, helper=, fds= and fd= are mutual exclusive")
    if queues is not None and queues > 1:
        raise _too_many_queues(f"queues={queues}")
    brought = source.fd is not None or source.helper is not None
    ours = [texts[name] is not None for name in ("ifname", *SCRIPTS)]
    if brought and (vnet_hdr is not None or any(ours)):
        raise OptionError("ifname=, script=, downscript=, vnet_hdr= are invalid with fd=/fds=/helper=")
    if texts["netns"] is not None and any(texts[name] not in (None, "", "no") for name in SCRIPTS):
        raise OptionError("script= and downscript= are invalid with netns=: scripts run in this namespace")
    if brought and texts["netns"] is not None:
        raise OptionError(f"netns= is invalid with {'fd=' if fd is not None else 'helper='}")


def _script(path: str | None) -> str | None:
    """A script to run: "" for none, None for QEMU's own."""
    return "" if path == "no" else path


def _bridge(name: str | None) -> str:
    """The name of a bridge."""
    if name and len(name.encode(errors="surrogateescape")) > MAX_IFNAME:
        raise OptionError(f"Parameter 'br' cannot exceed {MAX_IFNAME} bytes, '{name}' does")
    return name or DEFAULT_BRIDGE


def _ifname(name: str | None) -> str | None:
    if name and len(name.encode(errors="surrogateescape")) > MAX_IFNAME:
        raise OptionError(f"Parameter 'ifname' cannot exceed {MAX_IFNAME} bytes, '{name}' does")
    return name or None


def _size(reader: Reader, name: str) -> int:
    """A number of bytes, with a unit of 1024 to some power if need be; at most what the kernel takes."""
    text = reader.string(name)
    if text is None:
        return 0
    match = _SIZE.fullmatch(text)
    if match is None or len(text) > 20:
        raise OptionError(f"Parameter '{name}' expects a size value")
    unit = _POWERS[match[2].lower()]
    return min(int(match[1]) * unit, MAX_SNDBUF)
