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

    An empty list is told only if it is the first: a file that is being rewritten looks empty for a moment,
    and old resolvers are no worse than none. `pause` waits between looks; tests give their own.
    """
    seen = _signature(path)
    servers = read_resolvers(path)
    await callback(servers)
    while True:
        await pause(INTERVAL)
        if (now := _signature(path)) == seen:
            continue
        seen = now
        if (changed := read_resolvers(path)) and changed != servers:
            servers = changed
            await callback(servers)


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
