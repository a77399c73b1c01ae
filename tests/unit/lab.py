"""A network on a fake worker, and options to fill it with."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path

from tests.unit.fake_worker import FakeWorker
from wirebay.network import Network
from wirebay.options.types import (
    HostForward,
    HubportOptions,
    Plan4,
    Plan6,
    StreamOptions,
    UnixAddr,
    UserOptions,
)

PLAN4 = Plan4(
    net=IPv4Network("10.0.2.0/24"),
    host=IPv4Address("10.0.2.2"),
    dns=IPv4Address("10.0.2.3"),
    dhcpstart=IPv4Address("10.0.2.15"),
)
PLAN6 = Plan6(net=IPv6Network("fec0::/64"), host=IPv6Address("fec0::2"), dns=IPv6Address("fec0::3"))


@asynccontextmanager
async def lab() -> AsyncIterator[tuple[Network, FakeWorker]]:
    """A started network and the fake worker behind it."""
    fake = FakeWorker()
    async with Network(start_worker=fake.start) as network:
        yield network, fake


def user(name: str = "u0", *hostfwd: HostForward) -> UserOptions:
    """QEMU's default user network."""
    return UserOptions(id=name, ipv4=PLAN4, ipv6=PLAN6, hostfwd=hostfwd)


def unix_server(name: str, path: Path) -> StreamOptions:
    """A stream server on a path."""
    return StreamOptions(id=name, server=True, addr=UnixAddr(path=str(path)))


def hubport(name: str, hubid: int, netdev: str | None) -> HubportOptions:
    """A place on a numbered hub."""
    return HubportOptions(id=name, hubid=hubid, netdev=netdev)


def open_descriptors() -> set[str]:
    """The descriptors of this process."""
    return {entry.name for entry in Path("/proc/self/fd").iterdir()}


def is_gone(pid: int) -> bool:
    """No process, not even a zombie, is there."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


async def until(condition: Callable[[], bool]) -> None:
    """Let the event loop run until something has happened in it."""
    while not condition():  # noqa: ASYNC110 - what is waited for has no event of its own
        await asyncio.sleep(0)
