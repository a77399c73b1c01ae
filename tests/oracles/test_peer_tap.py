"""TAPs in a namespace: on a bridge of the kernel with QEMU's TAP, by scripts, and by QEMU's bridge helper."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.guests.console import Console
from tests.guests.place import Place, place
from tests.oracles.exchange import both_ways, join
from tests.oracles.rig import rig
from tests.support import require_tool
from tests.wire.guest import Guest
from wirebay.network import Network

pytestmark = pytest.mark.skipif(not os.access("/dev/net/tun", os.W_OK), reason="/dev/net/tun is needed")

HELPER = "/usr/lib/qemu/qemu-bridge-helper"
WIREBAY = (sys.executable, "-m", "wirebay", "serve")


@pytest.fixture
def host() -> Iterator[Place]:
    """A namespace with a bridge, and an /etc of its own."""
    with place() as host:
        host.shell(
            "ip link add br7 type bridge; ip link set br7 up; mount -t tmpfs none /etc; mkdir /etc/qemu"
        )
        yield host


@pytest.mark.anyio
async def test_qemus_tap_on_the_same_bridge(
    network: Network, card: Guest, host: Place, tmp_path: Path
) -> None:
    netns = f"/proc/{host.pid}/ns/net"
    port = await network.add("tap", id="n", ifname="ours", netns=netns)
    await join(network, port)
    host.shell("ip link set ours master br7 up")
    async with rig("tap,id=b,ifname=theirs,script=no,downscript=no", tmp_path, within=host.into) as far:
        host.shell("ip link set theirs master br7 up")
        await both_ways(card, far)


def test_a_persistent_tap_is_used_and_stays(host: Place) -> None:
    host.shell("ip tuntap add dev kept mode tap; ip link set kept up")
    with Console([*host.into, *WIREBAY, "-netdev", "tap,id=t0,ifname=kept,script=no,sndbuf=1M"]) as console:
        console.line("t0: tap kept")
        assert "LOWER_UP" in host.run("ip", "link", "show", "kept")
    assert "NO-CARRIER" in host.run("ip", "link", "show", "kept")


def script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_scripts_configure_the_interface_and_see_it_at_the_end(host: Place, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    up = script(tmp_path / "up", 'ip link set "$1" master br7 up')
    down = script(tmp_path / "down", f'ip -o link show "$1" > {seen}')
    netdev = f"tap,id=t0,ifname=t7,script={up},downscript={down}"
    with Console([*host.into, *WIREBAY, "-netdev", netdev]) as console:
        console.line("t0: tap t7")
        assert "master br7" in host.run("ip", "link", "show", "t7")
    assert "t7" in seen.read_text()
    assert "t7" not in host.run("ip", "link")


@pytest.mark.parametrize(
    ("text", "status"), [("exit 1", "256"), ("kill -9 $$", "9"), (None, "256: No such file or directory")]
)
def test_a_script_that_fails_is_said_in_qemus_words(
    host: Place, tmp_path: Path, text: str | None, status: str
) -> None:
    path = tmp_path / "up"
    if text is not None:
        script(path, text)
    with Console([*host.into, *WIREBAY, "-netdev", f"tap,id=t0,ifname=t7,script={path}"]) as console:
        console.line(f"wirebay: network script {path} failed with status {status}")
        assert console.finish() == 1
    assert "t7" not in host.run("ip", "link")


def test_qemus_scripts_are_run_where_they_exist(host: Place) -> None:
    host.shell("printf '#!/bin/sh\\nip link set $1 alias seen' > /etc/qemu-ifup; chmod +x /etc/qemu-ifup")
    with Console([*host.into, *WIREBAY, "-netdev", "tap,id=t0,ifname=t7"]) as console:
        console.line("t0: tap t7")
        assert "alias seen" in host.run("ip", "link", "show", "t7")


@pytest.mark.parametrize("netdev", ["bridge,id=b0,br=br7", f"tap,id=b0,br=br7,helper={HELPER}"])
def test_the_bridge_helper_makes_a_tap_on_the_bridge(host: Place, netdev: str) -> None:
    require_tool(HELPER, "qemu-system-common")
    host.shell("echo 'allow br7' > /etc/qemu/bridge.conf")
    with Console([*host.into, *WIREBAY, "-netdev", netdev]) as console:
        line = console.line("b0: tap ")
        device = line.split()[2]
        assert "master br7" in host.run("ip", "link", "show", device)
    assert device not in host.run("ip", "link")


def test_a_bridge_that_is_not_allowed_is_one_sentence(host: Place) -> None:
    require_tool(HELPER, "qemu-system-common")
    host.shell("echo 'deny all' > /etc/qemu/bridge.conf")
    with Console([*host.into, *WIREBAY, "-netdev", "bridge,id=b0,br=br7"]) as console:
        console.line("access denied by acl file")  # the helper's own
        console.line(f"wirebay: bridge helper failed ({HELPER}, bridge br7)")
        assert console.finish() == 1
