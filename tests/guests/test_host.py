"""A host of the test's own, a namespace, whose settings change: resolvers, ping sockets, other users."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.guests.host import exchange, free_port, payload
from tests.guests.place import place
from tests.guests.processes import TIMEOUT, WIREBAY, failure, running
from tests.guests.resolver import resolver
from tests.support import require_tool

USER = 1000
SOURCES = Path(__file__).parents[2]

# Looks a name up for each line on standard input.
ASK = """
import socket, sys
print("up", flush=True)
for line in sys.stdin:
    try:
        print(socket.gethostbyname("name.test"), flush=True)
    except OSError:
        print("no answer", flush=True)
"""
ECHO_ONCE = """
import socket
connection, _ = socket.create_server(("0.0.0.0", 7)).accept()
connection.sendall(b"".join(iter(lambda: connection.recv(1 << 20), b"")))
connection.close()
"""


def test_the_resolvers_of_the_host_are_followed_while_it_runs_also_when_there_are_none(
    tmp_path: Path,
) -> None:
    ours = tmp_path / "resolv.conf"
    ours.write_text("nameserver 127.0.0.2\n")
    with (
        place() as host,
        resolver(host, "127.0.0.2", "192.0.2.2"),
        resolver(host, "127.0.0.3", "192.0.2.3"),
    ):
        host.shell(f"mount --bind {ours} $(readlink -f /etc/resolv.conf)")
        with running(["ns", "--", sys.executable, "-c", ASK], before=host.into) as program:
            assert program.stdin is not None
            assert program.stdout is not None

            def look_up() -> str:
                assert program.stdin is not None
                assert program.stdout is not None
                program.stdin.write("\n")
                program.stdin.flush()
                return program.stdout.readline().strip()

            assert program.stdout.readline() == "up\n"
            assert look_up() == "192.0.2.2"
            ours.write_text("nameserver 127.0.0.3\n")
            answer = look_up()
            while answer == "192.0.2.2":  # each look-up waits for the network, so that this is no busy loop
                answer = look_up()
            assert answer == "192.0.2.3"
            ours.write_text("")  # as a machine that goes offline does
            answer = look_up()
            while answer == "192.0.2.3":
                answer = look_up()
            assert answer == "no answer"
            ours.write_text("nameserver 127.0.0.2\n")
            answer = look_up()
            while answer == "no answer":
                answer = look_up()
            assert answer == "192.0.2.2"
            program.stdin.close()
            assert program.wait(TIMEOUT) == 0


@pytest.mark.parametrize("allowed", [True, False])
def test_a_guest_pings_the_outside_where_the_host_allows_ping_sockets(allowed: bool) -> None:
    require_tool("ping", "iputils-ping")
    with place() as host, place(host.into, ("--net", "--mount")) as other:
        host.link(other, "192.0.2.1/24", "192.0.2.2/24")
        if allowed:  # the kernel's default is nobody
            host.shell("echo '0 0' > /proc/sys/net/ipv4/ping_group_range")
        ping = ["ping", "-c", "1", "-W", "10", "192.0.2.2"]
        run = subprocess.run(
            [*host.into, *WIREBAY, "ns", "--", *ping],
            capture_output=True, text=True, timeout=TIMEOUT, check=False,
        )  # fmt: skip
    assert run.returncode == (0 if allowed else 1), run.stdout + run.stderr
    wanted = "64 bytes from 192.0.2.2" if allowed else "From 10.0.2.2 icmp_seq=1 Packet filtered"
    assert wanted in run.stdout
    assert run.stderr == ""


# An ordinary user: only root can become one. Where somebody else runs the tests, all of them show it.
as_root = pytest.mark.skipif(
    os.geteuid() != 0, reason="every other test shows it when root does not run them"
)

# Opens the way to the interpreter and to these sources, which may lie where others have no business, and
# makes a device node as distributions have it; all of it in a mount namespace of its own.
OPEN_THE_WAY = """
set -e
mount -t tmpfs -o mode=755 none /mnt
mknod -m 666 /mnt/tun c 10 200
number=0
for path in "$@"; do
    number=$((number + 1))
    mkdir /mnt/$number
    mount --rbind "$path" /mnt/$number
done
for path in "$@"; do
    way=
    for part in $(dirname "$path" | tr / ' '); do
        way=$way/$part
        [ -e "$way" ] || break
        case $(stat -c %a "$way") in
        *[1357]) ;;
        *) mount -t tmpfs -o mode=755 none "$way" ;;
        esac
    done
done
number=0
for path in "$@"; do
    number=$((number + 1))
    mkdir -p "$path"
    mount --rbind /mnt/$number "$path"
done
mount --bind /mnt/tun /dev/net/tun
"""


@pytest.fixture
def user() -> Iterator[list[str]]:
    """The words before a command that an ordinary user runs."""
    setpriv = require_tool("setpriv", "util-linux")
    with place(unshare=("--mount",)) as host:
        into = [require_tool("nsenter", "util-linux"), f"--target={host.pid}", "--mount", "--wd=/tmp", "--"]
        roots = {str(SOURCES), sys.prefix, sys.base_prefix}
        subprocess.run([*into, "sh", "-c", OPEN_THE_WAY, "sh", *sorted(roots)], check=True, timeout=TIMEOUT)
        yield [*into, setpriv, f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "--"]


@as_root
def test_an_ordinary_user_needs_no_privileges(user: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TMPDIR")
    run = subprocess.run(
        [*user, *WIREBAY, "ns", "--", "sh", "-c", "id -u; cat /proc/self/uid_map /etc/resolv.conf"],
        capture_output=True, text=True, timeout=TIMEOUT, check=False,
    )  # fmt: skip
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.split() == ["0", "0", str(USER), "1", "nameserver", "10.0.2.3"]


@as_root
def test_an_ordinary_user_lets_connections_in_at_a_high_port(user: list[str]) -> None:
    port, data = free_port(), payload(1_000_000)
    words = ["ns", "--hostfwd", f"tcp:127.0.0.1:{port}-:7", "--", sys.executable, "-c", ECHO_ONCE]
    with running(words, before=user) as program:
        assert exchange(port, data) == data
        assert program.wait(TIMEOUT) == 0


@as_root
def test_a_privileged_port_is_refused_with_one_sentence(user: list[str]) -> None:
    lowest = int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    if lowest < 2:
        pytest.skip("this host has no privileged ports")
    rule = f"tcp:127.0.0.1:{lowest - 1}-:80"
    status, sentence = failure(["ns", "--hostfwd", rule, "--", "true"], before=user)
    assert status == 1
    assert rule in sentence
    assert "net.ipv4.ip_unprivileged_port_start" in sentence
