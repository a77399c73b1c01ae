"""The programs that people use, in a namespace with a card on a user network."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.guests.processes import started, wait_for
from tests.guests.site import Site, site
from tests.support import require_tool

BLOB = bytes(range(256)) * 1000
# What dhclient runs when it has learned something.
TELL = "env | grep ^new_; echo told $reason\n"


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Site]:
    """A guest that is configured; the host's HTTP server and the network's TFTP server give out `blob`."""
    (tmp_path / "blob").write_bytes(BLOB)
    with site(tmp_path, f"domainname=test,tftp={tmp_path}") as here:
        here.configure()
        yield here


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Site]:
    """A guest whose card is as it came, for a client that configures it."""
    options = "hostname=guest7,domainname=test,dnssearch=test,mtu=1400,bootfile=boot.ipxe"
    with site(tmp_path, options) as fresh:
        fresh.guest.shell("ip link set eth0 up")
        yield fresh


def facts(text: str) -> dict[str, str]:
    """The lines NAME=VALUE among others."""
    return dict(re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE))


def dhclient(here: Site, *words: str) -> dict[str, str]:
    """Run it with these words until it has what it wants, and end it; what it learned."""
    require_tool("dhclient", "isc-dhcp-client")
    files = ["-lf", f"{here.folder}/leases", "-pf", f"{here.folder}/pid", "-sf", here.script("tell", TELL)]
    lines: list[str] = []
    with started([*here.guest.into, "dhclient", *words, "-d", *files, "eth0"]) as client:
        assert client.stdout is not None
        # The first time it only says that it begins.
        while not lines or not re.match("told (?!PREINIT)", lines[-1]):
            lines.append(client.stdout.readline())
            assert lines[-1], client.stderr and client.stderr.read()
    return facts("".join(lines))


def test_dhclient_gets_a_lease(fresh: Site) -> None:
    got = dhclient(fresh, "-4")
    assert (got["new_ip_address"], got["new_subnet_mask"]) == ("10.0.2.15", "255.255.255.0")
    assert (got["new_routers"], got["new_domain_name_servers"]) == ("10.0.2.2", "10.0.2.3")
    assert (got["new_domain_name"], got["new_interface_mtu"]) == ("test", "1400")
    assert got["new_dhcp_lease_time"] == "86400"


def test_dhclient_gets_an_address_by_dhcpv6(fresh: Site) -> None:
    got = dhclient(fresh, "-6")
    assert got["new_ip6_address"].startswith("fec0::")
    assert got["new_dhcp6_name_servers"] == "fec0::3"
    assert got["new_dhcp6_domain_search"] == "test."


def test_dhclient_gets_information_by_dhcpv6(fresh: Site) -> None:
    got = dhclient(fresh, "-6", "-S")
    assert got["new_dhcp6_name_servers"] == "fec0::3"
    assert "new_ip6_address" not in got


def test_a_router_says_all_there_is_to_know(fresh: Site) -> None:
    require_tool("rdisc6", "ndisc6")
    run = fresh.run("rdisc6", "-1", "eth0")
    assert run.returncode == 0, run.stderr
    said = dict(re.findall(r"^ *(\S.*?) *: +(.*?)(?: \(.*)?$", run.stdout, re.MULTILINE))
    assert (said["Prefix"], said["MTU"]) == ("fec0::/64", "1400 bytes")
    assert (said["Recursive DNS server"], said["DNS search list"].strip()) == ("fec0::3", "test")
    assert said["Autonomous address conf."] == "Yes"


NETWORKD = """
mount -t tmpfs none /run
mount -t sysfs -o ro none /sys # where nobody can write it does not wait for udev
mkdir -p /run/systemd/network
cat > /run/systemd/network/eth0.network << END
[Match]
Name=eth0
[Network]
DHCP=yes
IPv6AcceptRA=yes
[DHCPv4]
UseMTU=yes
[IPv6AcceptRA]
UseDomains=yes
END
# There is nobody here but root.
echo 'systemd-network:x:0:0::/:/bin/sh' > /run/passwd
echo 'systemd-network:x:0:' > /run/group
mount --bind /run/passwd /etc/passwd
mount --bind /run/group /etc/group
exec "$0"
"""
STATE = "/run/systemd/netif/links/2"  # of the second interface, the first one is lo


def test_networkd_brings_up_both_families_by_itself(fresh: Site) -> None:
    daemon = require_tool("/lib/systemd/systemd-networkd", "systemd")
    state: dict[str, str] = {}

    def knows_all() -> bool:
        state.update(facts(fresh.run("cat", STATE).stdout))
        return len(state.get("DNS", "").split()) == 2 and "default" in fresh.guest.run("ip", "-6", "route")

    command = [*fresh.guest.into, "sh", "-ec", NETWORKD, daemon]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            wait_for("both families", knows_all)
            check_both_families(fresh)
        finally:
            process.terminate()
    assert state["DNS"].split() == ["10.0.2.3", "fec0::3"]
    assert "test" in state["DOMAINS"].split()


def check_both_families(here: Site) -> None:
    """Addresses, default routes and MTU."""
    (card,) = json.loads(here.guest.run("ip", "-json", "addr", "show", "dev", "eth0"))
    addresses = {(item["local"], item["prefixlen"]) for item in card["addr_info"] if item["scope"] != "link"}
    assert ("10.0.2.15", 24) in addresses
    assert any(local.startswith("fec0::") and length == 64 for local, length in addresses)
    for family, gateway in (("-4", "10.0.2.2"), ("-6", "fe80::2")):
        (route,) = json.loads(here.guest.run("ip", family, "-json", "route", "show", "default"))
        assert (route["gateway"], route["dev"]) == (gateway, "eth0")
    assert card["mtu"] == 1400
    assert here.guest.run("cat", "/proc/sys/net/ipv6/conf/eth0/mtu") == "1400\n"


# Programs that talk.


@pytest.mark.parametrize("server", ["10.0.2.3", "fec0::3"])
def test_dig_resolves_by_both_transports(here: Site, server: str) -> None:
    require_tool("dig", "bind9-dnsutils")

    def dig(*words: str) -> list[str]:
        return here.guest.run("dig", f"@{server}", "+tries=1", "+short", *words).splitlines()

    assert dig("name.test", "A") == ["192.0.2.9"]
    assert dig("name.test", "AAAA") == ["2001:db8::9"]
    assert dig("+tcp", "name.test", "TXT") == ['"wirebay"']
    assert len(dig("long.test", "A", "+bufsize=512")) == 60  # truncated, and asked again by TCP
    assert dig("nobody.example", "A") == []


@pytest.mark.parametrize(
    ("family", "gateway", "who"), [("-4", "10.0.2.2", "127.0.0.1"), ("-6", "[fec0::2]", "::1")]
)
def test_curl_gets_pages_of_the_host(here: Site, family: str, gateway: str, who: str) -> None:
    require_tool("curl", "curl")
    assert here.guest.run("curl", family, "-sS", f"http://{gateway}/who") == f"{who}\n"
    got = here.folder / "got"
    here.guest.run("curl", family, "-sS", "-o", str(got), f"http://{gateway}/blob")
    assert got.read_bytes() == BLOB


@pytest.mark.parametrize("gateway", ["10.0.2.2", "[fec0::2]"])
def test_curl_gets_a_file_by_tftp(here: Site, gateway: str) -> None:
    require_tool("curl", "curl")
    got = here.folder / "got"
    here.guest.run("curl", "-sS", "-o", str(got), f"tftp://{gateway}/blob")
    assert got.read_bytes() == BLOB


def test_tftp_gets_text_with_the_line_ends_of_this_host(here: Site) -> None:
    require_tool("tftp", "tftp-hpa")
    got, words = here.folder / "got", here.folder / "words"
    words.write_text("one\ntwo\n" * 300)
    here.guest.run("tftp", "10.0.2.2", "-m", "ascii", "-c", "get", "words", str(got))
    assert got.read_text() == words.read_text()


def test_tftp_cannot_write(here: Site) -> None:
    require_tool("tftp", "tftp-hpa")
    run = here.run("tftp", "10.0.2.2", "-m", "binary", "-c", "put", str(here.folder / "blob"), "new")
    assert "Error code" in run.stdout + run.stderr
    assert not (here.folder / "new").exists()


@pytest.mark.parametrize("gateway", ["10.0.2.2", "fec0::2", "192.0.2.9", "2001:db8::9"])
def test_ping_reaches_the_gateway_and_beyond(here: Site, gateway: str) -> None:
    require_tool("ping", "iputils-ping")
    here.guest.run("ping", "-c", "1", "-W", "5", gateway)


@pytest.mark.parametrize(
    ("family", "gateway", "address"), [("-4", "10.0.2.2", "127.0.0.1"), ("-6", "fec0::2", "::1")]
)
def test_iperf3_moves_data_both_ways(here: Site, family: str, gateway: str, address: str) -> None:
    tool = require_tool("iperf3", "iperf3")
    for way in (["-n", "40M"], ["-n", "40M", "-R"], ["-n", "4M", "-u", "-b", "50M"]):
        with listening(here, tool, address) as port:
            told = here.guest.run("iperf3", family, "-J", "-c", gateway, "-p", port, *way)
        end = json.loads(told)["end"]
        if "-u" in way:
            assert (end["sum"]["packets"] > 2000, end["sum"]["lost_percent"] < 10) == (True, True)
        else:
            # What is in queues when the sender has done is not counted.
            assert end["sum_sent"]["bytes"] >= 40_000_000
            assert end["sum_received"]["bytes"] > 0


@contextmanager
def listening(here: Site, tool: str, address: str) -> Iterator[str]:
    """An iperf3 server on the host for one client: its port."""
    port = "5201"
    words = [tool, "--forceflush", "-s", "-1", "-B", address, "-p", port]
    with started([*here.host.into, *words]) as server:
        assert server.stdout is not None
        while "listening on" not in server.stdout.readline():
            assert server.poll() is None
        yield port
        server.communicate(timeout=10)


def test_curl_on_the_host_gets_pages_of_the_guest_by_both_families(tmp_path: Path) -> None:
    require_tool("curl", "curl")
    (tmp_path / "blob").write_bytes(BLOB)
    rules = "hostfwd=tcp:127.0.0.1:8080-10.0.2.15:80,hostfwd=tcp:[::1]:8080-[fec0::15]:80"
    with site(tmp_path, rules) as here:
        here.configure()
        words = ["-u", "-m", "http.server", "--bind", "::", "--directory", str(tmp_path), "80"]
        with started([*here.guest.into, sys.executable, *words]) as server:
            assert server.stdout is not None
            assert server.stdout.readline().startswith("Serving")
            for address in ("127.0.0.1", "[::1]"):
                got = tmp_path / "got"
                here.host.run("curl", "-sS", "-o", str(got), f"http://{address}:8080/blob")
                assert got.read_bytes() == BLOB
