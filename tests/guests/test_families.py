"""Hosts that have only one of IPv4 and IPv6: what works for their guests, and what is said of the rest."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.guests.place import Place, place
from tests.guests.processes import TIMEOUT, WIREBAY, failure, running, started
from tests.guests.resolver import resolver
from tests.support import require_tool

NO_IPV6 = "sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1"
OUTSIDE = {"IPv4": "198.51.100.7", "IPv6": "2001:db8:1::7"}
# How a connection, a datagram and an echo request to an address end: the error's name for each.
TRY = """
import json, socket, sys
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
ping = socket.getprotobyname("ipv6-icmp" if ":" in sys.argv[1] else "icmp")
request = bytes([128 if ":" in sys.argv[1] else 8, 0, 0, 0, 0, 1, 0, 1])
open("/proc/sys/net/ipv4/ping_group_range", "w").write("0 0")
ends = []
for kind, protocol in ((socket.SOCK_STREAM, 0), (socket.SOCK_DGRAM, 0), (socket.SOCK_DGRAM, ping)):
    with socket.socket(family, kind, protocol) as sock:
        sock.settimeout(10)
        # IP_RECVERR, IPV6_RECVERR: tell what may pass, too.
        level, name = (socket.IPPROTO_IPV6, 25) if ":" in sys.argv[1] else (socket.IPPROTO_IP, 11)
        if kind == socket.SOCK_DGRAM:
            sock.setsockopt(level, name, 1)
        try:
            sock.connect((sys.argv[1], 9))
            sock.send(request)
            sock.recv(100)
            ends.append("answered")
        except OSError as error:
            ends.append(error.strerror or type(error).__name__)
print(json.dumps(ends))
"""
SERVE = """
import socket, sys
server = socket.create_server(("::", 80), family=socket.AF_INET6)
print("up", flush=True)
while True:
    connection, _ = server.accept()
    connection.sendall(b"hello")
    connection.close()
"""
FETCH = """
import socket, sys
socket.gethostbyname("name.test")
print(socket.gethostbyname("name.test"), socket.create_connection((sys.argv[1], 80), 10).recv(100).decode())
"""


def guest(host: Place, code: str, *arguments: str) -> str:
    """Run a Python program in a guest of the host; what it printed. Nothing is to be said beside it."""
    command = [*host.into, *WIREBAY, "ns", "--", sys.executable, "-c", code, *arguments]
    run = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    assert (run.returncode, run.stderr) == (0, "")
    return run.stdout


@pytest.fixture
def without_ipv6() -> Iterator[Place]:
    """A host with IPv4 on its loopback, and IPv6 switched off."""
    with place() as host:
        host.shell(NO_IPV6)
        host.shell("echo '0 0' > /proc/sys/net/ipv4/ping_group_range")
        yield host


@pytest.mark.parametrize("family", OUTSIDE)
def test_a_guest_hears_at_once_that_there_is_no_way(without_ipv6: Place, family: str) -> None:
    """Whether there is no route, as for IPv4 here, or not even an address, as for IPv6."""
    assert json.loads(guest(without_ipv6, TRY, OUTSIDE[family])) == ["Network is unreachable"] * 3


def test_the_log_has_a_sentence_for_each_family_that_ends_here(without_ipv6: Place) -> None:
    require_tool("ip", "iproute2")
    with running(["serve", "-netdev", "user,id=u0"], before=without_ipv6.into) as serve:
        serve.terminate()
        _, said = serve.communicate(timeout=TIMEOUT)
    assert said.splitlines()[:2] == [
        f"wirebay: user network 'u0': this host has no way out over {family}, and so its guests have none"
        for family in OUTSIDE
    ]


def test_a_forward_on_an_address_that_the_host_has_not_is_one_sentence(without_ipv6: Place) -> None:
    rule = "tcp:[::1]:8080-:80"
    status, sentence = failure(["ns", "--hostfwd", rule, "--", "true"], before=without_ipv6.into)
    reason = "Cannot assign requested address on this host"
    assert (status, sentence) == (1, f"wirebay: Could not set up host forwarding rule '{rule}': {reason}")


def test_the_doctor_names_the_family_that_is_missing(without_ipv6: Place) -> None:
    run = without_ipv6.run(*WIREBAY, "doctor", "--json")
    states = {check["name"]: check["state"] for check in json.loads(run)}
    assert (states["IPv4"], states["IPv6"]) == ("limited", "limited")


def test_guests_of_a_host_with_ipv6_alone_resolve_names_and_connect() -> None:
    with place() as host, place(host.into, ("--net",)) as other:
        host.shell("sysctl -qw net.ipv6.conf.default.accept_dad=0")
        other.shell("sysctl -qw net.ipv6.conf.default.accept_dad=0")
        host.link(other, "2001:db8::1/64", "2001:db8::2/64")
        host.shell("mount -t tmpfs none /mnt; echo nameserver 2001:db8::2 > /mnt/resolv.conf")
        host.shell("mount --bind /mnt/resolv.conf $(readlink -f /etc/resolv.conf)")
        with (
            resolver(other, "2001:db8::2", "192.0.2.9"),
            started([*other.into, sys.executable, "-c", SERVE]) as server,
        ):
            assert server.stdout is not None
            assert server.stdout.readline() == "up\n"
            assert guest(host, FETCH, "2001:db8::2") == "192.0.2.9 hello\n"
            assert json.loads(guest(host, TRY, OUTSIDE["IPv4"]))[0] == "Network is unreachable"
