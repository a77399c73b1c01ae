"""A network namespace of a test's own, to play the host or another machine in.

It lives as long as the process that holds it, whose standard input is a pipe from here: whatever ends the
tests ends it too.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from tests.support import require_tool

# Root of a user namespace may do all of it, so that these tests need no privileges.
UNSHARE = ("--user", "--map-root-user", "--net", "--mount")


class Place:
    """The namespaces of process `pid`."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        tool = require_tool("nsenter", "util-linux")
        self.into = [tool, f"--target={pid}", "--user", "--preserve-credentials", "--net", "--mount", "--"]

    def run(self, *command: str) -> str:
        """Run a command in it that must succeed; returns what it printed."""
        run = subprocess.run([*self.into, *command], capture_output=True, text=True, timeout=30, check=False)
        assert run.returncode == 0, run.stderr
        return run.stdout

    def shell(self, script: str) -> str:
        """Run a shell script in it that must succeed."""
        return self.run("sh", "-ec", script)

    def link(self, other: Place, ours: str, theirs: str) -> None:
        """A cable to another place made in this one, with an address and prefix length for each end."""
        self.shell(
            f"ip link add to-other type veth peer name to-first netns {other.pid};"
            f"ip addr add {ours} dev to-other; ip link set to-other up"
        )
        other.shell(f"ip addr add {theirs} dev to-first; ip link set to-first up")


@contextmanager
def place(within: Sequence[str] = (), unshare: Sequence[str] = UNSHARE) -> Iterator[Place]:
    """A new place with its loopback up; `within` is what runs it, as another place's `into`."""
    require_tool("ip", "iproute2")
    hold = "ip link set lo up && echo up && exec cat"
    command = [*within, require_tool("unshare", "util-linux"), *unshare, "sh", "-c", hold]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == "up\n"
        try:
            yield Place(process.pid)
        finally:
            process.stdin.close()
