"""The host's DNS resolvers: where a guest's questions to the DNS address go.

Read from resolv.conf as resolv.conf(5) describes it, and read again when it changes: a VPN comes up, the
laptop moves to another network. Changes are found by one stat a second. inotify would be woken less often,
but it misses what matters here: resolv.conf is often a symbolic link into /run (systemd-resolved), a file
that is replaced by renaming, or a bind mount (containers), and then the file's contents change without an
event in any directory one could watch.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from ipaddress import ip_address
from pathlib import Path

from wirebay.options.types import Address

__all__ = ["RESOLV_CONF", "Address", "follow_resolvers", "parse_resolvers", "read_resolvers"]

RESOLV_CONF = "/etc/resolv.conf"
MAX_SERVERS = 3  # MAXNS of resolv.conf(5)
MAX_SIZE = 65536
INTERVAL = 1.0  # seconds; libslirp looks as often
EMPTY_LOOKS = 5


def parse_resolvers(text: str) -> list[Address]:
    """The name servers in the text of a resolv.conf, best first, at most three; lines that name none are
    skipped.

    Scope ids (fe80::1%eth0) are dropped. A link-local server cannot be reached without, so such servers
    come last.
    """
    words = (line.split() for line in text.splitlines() if line.startswith("nameserver"))
    named = (words[1] for words in words if len(words) > 1 and words[0] == "nameserver")
    servers = [server for name in named if (server := _address(name))]
    return sorted(servers[:MAX_SERVERS], key=lambda server: server.is_link_local)


def read_resolvers(path: str = RESOLV_CONF) -> list[Address]:
    """The name servers of the resolv.conf at `path`, as `parse_resolvers`; none if it cannot be read."""
    try:
        with Path(path).open(encoding="utf-8", errors="replace") as file:
            return parse_resolvers(file.read(MAX_SIZE))
    except OSError:
        return []


async def follow_resolvers(
    callback: Callable[[list[Address]], Awaitable[object]],
    path: str = RESOLV_CONF,
    *,
    pause: Callable[[float], Awaitable[object]] = asyncio.sleep,
) -> None:
    """Call back with the resolvers at once, and again each time they changed; runs until it is cancelled.

    A file that is being rewritten looks empty for a moment, so that there are none is told, unless it is so
    from the start, when it has lasted for `EMPTY_LOOKS`. `pause` waits between looks; tests give their own.
    """
    seen = _signature(path)
    told = found = read_resolvers(path)
    await callback(told)
    empty = 0
    while True:
        await pause(INTERVAL)
        if (now := _signature(path)) != seen:
            seen, found = now, read_resolvers(path)
        empty = 0 if found else empty + 1
        if found != told and (found or empty >= EMPTY_LOOKS):
            told = found
            await callback(told)


def _address(text: str) -> Address | None:
    try:
        return ip_address(text.partition("%")[0])
    except ValueError:
        return None


def _signature(path: str) -> tuple[int, ...] | None:
    """What differs when the file behind `path` was replaced or written; None while there is none."""
    try:
        stat = Path(path).stat()
    except OSError:
        return None
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns
