"""A guest whose host reaches a server through two routers: what comes back of packets that do not arrive.

guest | host ---- first ---- second ---- far
                                   MTU 1400
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.guests.place import Place, place
from tests.guests.processes import WIREBAY, started
from tests.support import require_tool

TIMEOUT = 60.0
MTU = 1400
# The routers' addresses are not tried out first (RFC 4862), which would take seconds.
AT_ONCE = "sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0"
FORWARD = "sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1"
# A guest with an address of both families, whatever gave it the first one.
DUAL = """
ip -6 addr replace fec0::15/64 dev tap0 nodad
ip -6 route replace default via fec0::2 dev tap0
exec "$@"
"""
ECHO = """
import socket
sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
sock.bind(("::", 7))
print("up", flush=True)
while True:
    data, client = sock.recvfrom(1 << 16)
    sock.sendto(data[::-1], client)
"""
ASK = """
import random, socket, sys
sock = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
sock.settimeout(1)
for size in map(int, sys.argv[2:]):
    data = random.Random(size).randbytes(size)
    for _ in range(10):
        sock.sendto(data, (sys.argv[1], 7))
        try:
            answer = sock.recv(1 << 16)
            break
        except TimeoutError:
            pass  # the kernel has learnt what the way takes
    assert answer == data[::-1], size
"""
# What a datagram and a connection to somebody end in.
REFUSED = """
import socket, sys
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
    with socket.socket(family, kind) as sock:
        sock.settimeout(20)
        if kind == socket.SOCK_DGRAM:
            # IP_RECVERR, IPV6_RECVERR: tell what may pass, too.
            level, name = (socket.IPPROTO_IPV6, 25) if ":" in sys.argv[1] else (socket.IPPROTO_IP, 11)
            sock.setsockopt(level, name, 1)
        try:
            sock.connect((sys.argv[1], int(sys.argv[2])))
            sock.send(b"anybody?")
            sock.recv(1)
        except OSError as error:
            print(type(error).__name__, error.strerror)
"""


@dataclass(frozen=True)
class Family:
    """Addresses of one family."""

    option: str
    first: str
    second: str
    far: str
    nowhere: str


FAMILIES = [
    Family("-4", "10.9.1.2", "10.9.2.2", "10.9.3.2", "10.9.9.9"),
    Family("-6", "2001:db8:1::2", "2001:db8:2::2", "2001:db8:3::2", "2001:db8:9::9"),
]


@dataclass(frozen=True)
class Route:
    """The places."""

    host: Place
    far: Place

    def guest(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command in a guest of the host and wait for it."""
        guest = [*self.host.into, *WIREBAY, "ns", "--", "sh", "-ec", DUAL, "guest", *command]
        return subprocess.run(guest, capture_output=True, text=True, timeout=TIMEOUT, check=False)

    def hops(self, *command: str) -> list[str]:
        """What a tool prints about each hop, as words."""
        run = self.guest(*command)
        assert (run.returncode, run.stderr) == (0, "")
        return run.stdout.splitlines()


@pytest.fixture
def route() -> Iterator[Route]:
    """The places, linked."""
    require_tool("ip", "iproute2")
    alone = ("--net",)
    with (
        place() as host,
        place(host.into, alone) as first,
        place(host.into, alone) as second,
        place(host.into, alone) as far,
    ):
        for one in (host, first, second, far):
            one.shell(AT_ONCE)
        _link(host, first, 1)
        _link(first, second, 2)
        _link(second, far, 3)
        host.shell(
            "sysctl -qw net.ipv4.ping_group_range='0 0';"
            "ip route add default via 10.9.1.2; ip -6 route add default via 2001:db8:1::2"
        )
        first.shell(
            f"{FORWARD}; ip route add 10.9.3.0/24 via 10.9.2.2;"
            "ip -6 route add 2001:db8:3::/64 via 2001:db8:2::2"
        )
        second.shell(
            f"{FORWARD}; ip route add 10.9.1.0/24 via 10.9.2.1;"
            f"ip -6 route add 2001:db8:1::/64 via 2001:db8:2::1; ip link set to-other mtu {MTU}"
        )
        far.shell(
            "ip route add default via 10.9.3.1; ip -6 route add default via 2001:db8:3::1;"
            f"ip link set to-first mtu {MTU}"
        )
        yield Route(host, far)


def _link(one: Place, other: Place, number: int) -> None:
    one.link(other, f"10.9.{number}.1/24", f"10.9.{number}.2/24")
    one.shell(f"ip addr add 2001:db8:{number}::1/64 dev to-other nodad")
    other.shell(f"ip addr add 2001:db8:{number}::2/64 dev to-first nodad")


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.option)
@pytest.mark.parametrize("method", ["", "-I", "-T"], ids=["udp", "icmp", "tcp"])
def test_traceroute_shows_both_routers_and_the_end(route: Route, family: Family, method: str) -> None:
    require_tool("traceroute", "traceroute")
    words = ["traceroute", family.option, *method.split(), "-n", "-q1", "-w5", "-m6", family.far]
    hops = [line.split()[:2] for line in route.hops(*words)[1:]]
    assert hops == [["1", family.first], ["2", family.second], ["3", family.far]]


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.option)
def test_tracepath_learns_the_smaller_mtu_on_the_way(route: Route, family: Family) -> None:
    require_tool("tracepath", "iputils-tracepath")
    lines = route.hops("tracepath", family.option, "-n", "-m6", family.far)
    assert "pmtu 1500" in lines[0]
    assert any(family.second in line and f"pmtu {MTU}" in line for line in lines)
    assert lines[-1].split()[:5] == ["Resume:", "pmtu", str(MTU), "hops", "3"]


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.option)
def test_datagrams_of_any_size_cross_in_fragments_both_ways(route: Route, family: Family) -> None:
    sizes = ["1", "1380", "1480", "9000", "65507"]
    with started([*route.far.into, sys.executable, "-c", ECHO]) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == "up\n"
        run = route.guest(sys.executable, "-c", ASK, family.far, *sizes)
    assert (run.returncode, run.stderr) == (0, "")


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.option)
def test_what_the_network_refuses_the_guest_learns_at_once(route: Route, family: Family) -> None:
    refused = route.guest(sys.executable, "-c", REFUSED, family.far, "9")
    assert refused.stdout.splitlines() == ["ConnectionRefusedError Connection refused"] * 2
    nowhere = route.guest(sys.executable, "-c", REFUSED, family.nowhere, "9")
    assert nowhere.stdout.splitlines() == ["OSError Network is unreachable"] * 2
