"""The services of the user network for the clients that people use: dig, tftp and smbclient."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.guests.host import payload
from tests.guests.place import Place, place
from tests.guests.processes import running
from tests.support import require_tool
from wirebay.services.smb import EXTRA_PATH


@contextmanager
def guest(options: str, *programs: tuple[str, str]) -> Iterator[Place]:
    """A namespace on a user network with these options; skipped without the programs, of these packages."""
    for program, package in programs:
        require_tool(program, package)
    with place() as inside:
        words = ["serve", "-netdev", f"user,id=u0,{options}"]
        words += ["-netdev", f"tap,id=t0,ifname=tap0,netns=/proc/{inside.pid}/ns/net"]
        with running(words) as serve:
            inside.shell(
                "ip addr add 10.0.2.15/24 dev tap0; ip link set tap0 up; ip route add default via 10.0.2.2"
            )
            yield inside
            serve.send_signal(signal.SIGTERM)
            assert serve.wait(10) == 0


def dig(inside: Place, *words: str) -> list[str]:
    """What dig prints when it is asked to be short."""
    command: Sequence[str] = ("dig", "+short", "+tries=2", "+time=5", "@10.0.2.3", *words)
    return inside.run(*command).splitlines()


def test_dig_resolves_the_names_of_the_network_over_udp_and_tcp() -> None:
    options = "domainname=lab,host-record=db=192.0.2.7,dhcp-host=52:54:00:12:34:56/10.0.2.50/web"
    with guest(options, ("dig", "bind9-dnsutils")) as inside:
        assert dig(inside, "db.lab") == ["192.0.2.7"]
        assert dig(inside, "+tcp", "gateway.wirebay.internal") == ["10.0.2.2"]
        assert dig(inside, "web") == ["10.0.2.50"]
        assert dig(inside, "AAAA", "host.lab") == ["fec0::2"]
        assert dig(inside, "-x", "10.0.2.50") == ["web.lab."]
        assert "NXDOMAIN" in inside.run("dig", "@10.0.2.3", "nothing.wirebay.internal")


def test_tftp_fetches_a_file_and_is_refused_what_is_not_its(folder: Path) -> None:
    top, fetched = folder / "top", folder / "fetched"
    top.mkdir()
    fetched.mkdir()
    (top / "kernel").write_bytes(payload(3_000_000))
    (top / "leak").symlink_to("../secret")
    (folder / "secret").write_text("secret")
    with guest(f"tftp={top}", ("tftp", "tftp-hpa")) as inside:
        inside.shell(f"cd {fetched}; tftp -m binary 10.0.2.2 -c get kernel")
        assert (fetched / "kernel").read_bytes() == payload(3_000_000)
        for name, error in (("leak", "Access violation"), ("nothing", "File not found")):
            said = inside.shell(f"cd {fetched}; tftp -m binary 10.0.2.2 -c get {name} 2>&1 || true")
            assert error in said
    shutil.rmtree(fetched)
    shutil.rmtree(top)
    (folder / "secret").unlink()


def test_smbclient_lists_reads_and_writes_the_share(folder: Path) -> None:
    if shutil.which("smbd", path=f"{os.environ['PATH']}:{EXTRA_PATH}") is None:
        require_tool("smbd", "samba")
    share = folder / "share"
    share.mkdir()
    (share / "hello").write_text("hello from the host\n")
    with guest(f"smb={share}", ("smbclient", "smbclient")) as inside:
        assert "qemu" in inside.run("smbclient", "-N", "-L", "10.0.2.4")
        for port in ("139", "445"):
            commands = f"get hello -; put /proc/version from-{port}"
            said = inside.run("smbclient", "-N", "-p", port, "//10.0.2.4/qemu", "-c", commands)
            assert "hello from the host" in said
    assert {file.name for file in share.iterdir()} == {"hello", "from-139", "from-445"}
    shutil.rmtree(share)
