"""The kernel's VXLAN devices in namespaces, on one segment with a vxlan port."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import pytest

from tests.guests.console import Console
from tests.guests.place import Place, place
from tests.support import require_tool

pytestmark = pytest.mark.skipif(not os.access("/dev/net/tun", os.W_OK), reason="/dev/net/tun is needed")

Hosts = tuple[Place, Place, Place]


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    """Three hosts on one wire, which is a bridge in the first."""
    require_tool("ping", "iputils-ping")
    inner = ("--net", "--mount")  # of the same user, who may then lay cables between them
    with place() as ours, place(ours.into, inner) as second, place(ours.into, inner) as third:
        ours.shell(
            "ip link add under type bridge; ip link set under up;"
            "ip addr add 10.7.0.1/24 dev under; ip addr add fd07::1/64 dev under nodad"
        )
        for number, other in ((2, second), (3, third)):
            ours.shell(
                f"ip link add v{number} type veth peer name eth0 netns {other.pid};"
                f"ip link set v{number} master under up"
            )
            other.shell(
                f"ip link set eth0 up; ip addr add 10.7.0.{number}/24 dev eth0;"
                f"ip addr add fd07::{number}/64 dev eth0 nodad"
            )
        yield ours, second, third


def kernel_end(host: Place, number: int, under: str) -> None:
    """The kernel's own device, which knows the other two hosts and has an address on the segment."""
    host.shell(f"ip link add vx0 type vxlan id 77 dstport 4789 dev eth0 local {under}{number}")
    for other in {1, 2, 3} - {number}:
        host.shell(f"bridge fdb append 00:00:00:00:00:00 dev vx0 dst {under}{other}")
    host.shell(f"ip addr add 10.8.0.{number}/24 dev vx0; ip link set vx0 up")


@pytest.mark.parametrize("under", ["10.7.0.", "fd07::"], ids=["v4", "v6"])
def test_three_hosts_on_one_segment_reach_each_other(hosts: Hosts, under: str) -> None:
    ours, *others = hosts
    for number, host in enumerate(others, start=2):
        kernel_end(host, number, under)
    words = [*ours.into, sys.executable, "-m", "wirebay", "serve"]
    segment = f"vxlan,id=x0,vni=77,local={under}1,remote={under}2,remote={under}3"
    words += ["-netdev", segment, "-netdev", "tap,id=t0,ifname=tap0,script=no"]
    with Console(words) as console:
        console.line("t0: tap tap0")
        ours.shell("ip addr add 10.8.0.1/24 dev tap0; ip link set tap0 mtu 1400 up")
        for number in (2, 3):
            assert "3 received" in ours.run("ping", "-c3", "-i0.1", "-W5", "-s1300", f"10.8.0.{number}")
        for host in others:
            assert "3 received" in host.run("ping", "-c3", "-i0.1", "-W5", "10.8.0.1")
