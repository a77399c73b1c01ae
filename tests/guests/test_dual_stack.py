"""A Debian kernel with both families: what it has without being told, and what it reaches by each."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.guests.guest import boot
from tests.guests.processes import WIREBAY
from tests.guests.site import hosting

QEMU = [*WIREBAY, "qemu", "--"]
NETWORK = ["-nic", "user,model=virtio-net-pci,mtu=1400,domainname=test"]

# The IPv4 half is there by DHCP when the script begins; the kernel does the IPv6 half by itself.
SCRIPT = """
    until ip -6 addr show dev eth0 | grep -v tentative | grep -q 'inet6 fec0:'; do sleep 0.1; done
    echo "@address $(ip -6 addr show dev eth0 | grep -o 'fec0:[^ ]*')"
    for family in 4 6; do echo "@route$family $(ip -$family route | grep ^default)"; done
    echo "@mtu v4=$(cat /sys/class/net/eth0/mtu) v6=$(cat /proc/sys/net/ipv6/conf/eth0/mtu)"
    for server in 10.0.2.3 fec0::3; do
        echo "@dns $server found=$(nslookup name.test $server | grep -c -E '192.0.2.9|2001:db8::9')"
    done
    for host in 10.0.2.2 [fec0::2] name.test; do echo "@who $(wget -q -O - http://$host/who)"; done
    for host in 10.0.2.2 fec0::2 192.0.2.9 2001:db8::9; do
        ping -c 1 -W 10 $host > /dev/null && echo "@reached $host"
    done
"""


@pytest.mark.usefixtures("qemu")
def test_a_kernel_has_both_families_by_itself_and_uses_them(tmp_path: Path) -> None:
    with hosting(tmp_path) as host, boot([*host.into, *QEMU], NETWORK, SCRIPT) as guest:
        lease = guest.fields("@lease")
        assert (lease["ip"], lease["router"], lease["mtu"]) == ("10.0.2.15", "10.0.2.2", "1400")
        assert (lease["dns"], lease["domain"]) == ("10.0.2.3", "test")
        assert guest.line("@address") == "@address fec0::5054:ff:fe12:3456/64"
        assert "via 10.0.2.2 dev eth0" in guest.line("@route4")
        assert "via fe80::2 dev eth0" in guest.line("@route6")
        assert guest.line("@mtu") == "@mtu v4=1400 v6=1400"
        for server in ("10.0.2.3", "fec0::3"):
            assert guest.line("@dns") == f"@dns {server} found=2"
        for who in ("127.0.0.1", "::1"):
            assert guest.line("@who") == f"@who {who}"
        assert guest.line("@who") in ("@who 192.0.2.9", "@who 2001:db8::9")
        for address in ("10.0.2.2", "fec0::2", "192.0.2.9", "2001:db8::9"):
            assert guest.line("@reached") == f"@reached {address}"
        assert guest.finish() == 0
