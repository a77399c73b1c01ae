"""Wrong options of `-netdev user`: the real QEMU says what we say."""

from __future__ import annotations

import subprocess

import pytest

from tests.support import require_tool
from wirebay.errors import OptionError
from wirebay.options.netdev import parse_netdev

LONG = "x" * 256

WRONG = [
    "ipv4=off,ipv6=off", "ipv4=off,net=10.0.2.0/24", "ipv6=on,host=10.0.2.2", "ipv6=off,ipv6-host=fec0::2",
    "ipv6=off,ipv6-dns=fec0::3", "net=x", "net=10.0.2.0/3", "net=10.0.2.0/33", "net=10.0.2.0/24x",
    "net=10.0.2.0/",
    "ip=10.0.3.0/8", "host=x", "host=10.0.3.2", "dns=x", "dns=10.0.2.2", "dns=1.1.1.1,restrict=on",
    "dhcpstart=x", "dhcpstart=10.0.3.15", "dhcpstart=10.0.2.3", "net=10.0.2.0/30", "net=10.0.2.0/32",
    "ipv4=off,dhcpstart=x", "smbserver=x", "ipv6-net=", "ipv6-net=x", "ipv6-net=/64", "ipv6-net=fd00::/127",
    "ipv6-net=fd00::/-1", "ipv6-prefixlen=127", "ipv6-prefixlen=x", "ipv6-host=x", "ipv6-host=fd00::1",
    "ipv6-dns=x", "ipv6-dns=fd00::1,restrict=on", f"hostname={LONG}", "domainname=", f"domainname={LONG}",
    f"tftp-server-name={LONG}", "restrict=1", "foo=1", "hostfwd=", "hostfwd=sctp:1-2", "hostfwd=tcp:80",
    "hostfwd=tcp:127.0.0.1:80", "hostfwd=tcp::x-:80", "hostfwd=tcp::65536-:80", "hostfwd=tcp::80-10.0.2.15",
    "hostfwd=tcp::80-:0", "guestfwd=", "guestfwd=sctp:10.0.2.9:80-cmd:cat", "guestfwd=tcp:10.0.2.9:0-cmd:cat",
    "guestfwd=tcp:10.0.2.9:0x50-cmd:cat", "guestfwd=tcp:10.0.2.9:80", "guestfwd=tcp:10.0.3.9:80-cmd:cat",
    "guestfwd=tcp:10.0.2.2:80-cmd:cat", "guestfwd=tcp:10.0.2.3:80-cmd:cat", "net=x,host=y", "host=x,dns=y",
    "dns=x,dhcpstart=y", "dhcpstart=x,smbserver=y", "smbserver=x,ipv6-host=y", "ipv6-host=x,domainname=",
    f"domainname=,hostname={LONG}", f"hostname={LONG},tftp-server-name={LONG}", "ipv6-net=,foo=1",
    "net=x,foo=1",
]  # fmt: skip


@pytest.fixture(scope="module")
def qemu() -> str:
    return require_tool("qemu-system-x86_64", "qemu-system-x86")


@pytest.mark.parametrize("options", WRONG, ids=lambda options: str(options)[:40])
def test_qemu_refuses_it_in_our_words(qemu: str, options: str) -> None:
    netdev = f"user,id=u0,{options}"
    with pytest.raises(OptionError) as caught:
        parse_netdev(netdev)
    run = subprocess.run(
        [qemu, "-M", "none", "-display", "none", "-S", "-netdev", netdev],
        capture_output=True,
        text=True,
        timeout=30,
        stdin=subprocess.DEVNULL,
    )
    assert run.returncode == 1
    assert (
        run.stderr.splitlines()[0].removeprefix(f"{qemu.split('/')[-1]}: ")
        == f"-netdev {netdev}: {caught.value}"
    )
