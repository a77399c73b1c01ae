"""Wrong options of user networks, in every spelling: the real QEMU says what we say."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.support import require_tool
from wirebay.errors import OptionError
from wirebay.options.grammar import parse_pairs
from wirebay.options.qemu_command import rewrite

LISTS = ("dnssearch", "hostfwd", "guestfwd")
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


def as_json(options: str) -> str:
    """The same options as JSON, each with its type where its text is one of that."""
    tree: dict[str, Any] = {"type": "user", "id": "u0"}
    for name, value in parse_pairs(f"user,{options}")[1:]:
        if name in LISTS:
            tree.setdefault(name, []).append({"str": value})
        elif name == "ipv6-prefixlen" and value.isdigit():
            tree[name] = int(value)
        else:
            tree[name] = {"on": True, "off": False}.get(value, value)
    return json.dumps(tree)


SPELLINGS: list[tuple[str, Callable[[str], str]]] = [
    ("-netdev", lambda options: f"user,id=u0,{options}"),
    ("-netdev", as_json),
    ("-nic", lambda options: f"user,{options}"),
    ("-net", lambda options: f"user,{options}"),
]


def qemus_sentence(argv: Sequence[str]) -> str:
    run = subprocess.run(argv, capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL)
    assert run.returncode == 1
    return run.stderr.splitlines()[0].removeprefix(f"{Path(argv[0]).name}: ")


@pytest.mark.parametrize("options", WRONG, ids=lambda options: str(options)[:40])
def test_qemu_refuses_it_in_our_words(qemu: str, options: str) -> None:
    bare = [qemu, "-M", "none", "-display", "none", "-S"]
    lines = [[*bare, flag, spell(options)] for flag, spell in SPELLINGS]
    with ThreadPoolExecutor() as pool:
        theirs = list(pool.map(qemus_sentence, lines))
    for line, sentence in zip(lines, theirs, strict=True):
        with pytest.raises(OptionError) as caught:
            rewrite(line, "/run")
        assert sentence == str(caught.value)
