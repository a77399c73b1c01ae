"""Two hosts that share a multicast group, each in a namespace of its own, over both families."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.guests.console import Console
from tests.guests.place import Place, place
from tests.support import require_tool

pytestmark = pytest.mark.skipif(not os.access("/dev/net/tun", os.W_OK), reason="/dev/net/tun is needed")

GROUPS = {"v4": "230.77.5.3", "v6": "ff02::77:5%eth0"}


@pytest.fixture
def hosts() -> Iterator[tuple[Place, Place]]:
    """Two hosts on a cable, eth0 at both ends."""
    require_tool("ping", "iputils-ping")
    with place() as first, place(first.into, ("--net", "--mount")) as second:
        first.shell(f"ip link add eth0 type veth peer name eth0 netns {second.pid}")
        for number, host in enumerate((first, second), start=1):
            host.shell(
                f"ip link set eth0 up; ip addr add 10.7.0.{number}/24 dev eth0; ip route add default dev eth0"
            )
            host.shell(
                f"ip addr add fd07::{number}/64 dev eth0 nodad; ip addr add fe80::{number}/64 dev eth0 nodad"
            )
        yield first, second


@pytest.mark.parametrize("family", GROUPS)
def test_hosts_in_one_group_are_on_one_network(hosts: tuple[Place, Place], family: str) -> None:
    group = f"dgram,id=g0,remote.type=inet,remote.host={GROUPS[family]},remote.port=4747"
    with ExitStack() as stack:
        for number, host in enumerate(hosts, start=1):
            words = [*host.into, sys.executable, "-m", "wirebay", "serve", "-netdev", group]
            console = stack.enter_context(Console([*words, "-netdev", "tap,id=t0,ifname=tap0,script=no"]))
            console.line("t0: tap tap0")
            host.shell(f"ip addr add 10.8.0.{number}/24 dev tap0; ip link set tap0 up")
        assert "3 received" in hosts[0].run("ping", "-c3", "-i0.1", "-W5", "10.8.0.2")
