"""The benchmark's guest: a network namespace with the kernel's own stack, so that the peer is measured."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.bench.processes import stop, wait_until

# Whom guests and sandboxed peers run as when root runs the benchmark: pasta refuses to serve root.
USER = 1000
AS_USER = ("setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups")


def privileged() -> bool:
    """Whether root runs the benchmark."""
    return os.geteuid() == 0


class Namespace:
    """A network namespace that lives as long as the process that holds it.

    Without `outer` it has a user namespace of its own, as a rootless container has; with it, the new
    namespace is made inside that one and shares its users.
    """

    def __init__(self, outer: Namespace | None = None) -> None:
        sleep = ("sleep", "infinity")
        if outer:
            command = (*outer.enter(), "unshare", "--net", *sleep)
        else:
            user = AS_USER if privileged() else ()
            command = (*user, "unshare", "--user", "--map-root-user", "--net", *sleep)
        self.holder = subprocess.Popen(command, text=True)
        try:
            wait_until(self._is_sleeping, "a network namespace")
        except BaseException:
            self.close()
            raise
        self.run("ip", "link", "set", "lo", "up")

    @property
    def pid(self) -> int:
        """A process inside."""
        return self.holder.pid

    @property
    def path(self) -> str:
        """The namespace's own path."""
        return f"/proc/{self.pid}/ns/net"

    def enter(self) -> tuple[str, ...]:
        """Words before a command that is to run inside."""
        user = () if privileged() else ("--user", "--preserve-credentials")
        return ("nsenter", *user, "--net", f"--target={self.pid}")

    def run(self, *command: str, timeout: float = 60.0) -> str:
        """Run a command inside and return what it prints; raises OSError or SubprocessError."""
        done = subprocess.run(
            [*self.enter(), *command], text=True, capture_output=True, timeout=timeout, check=True
        )
        return done.stdout

    def start(self, command: Sequence[str]) -> subprocess.Popen[str]:
        """Start a command inside, with pipes for what it reads and prints."""
        return subprocess.Popen(
            [*self.enter(), *command], text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def has_interface(self, name: str) -> bool:
        """Whether there is such an interface."""
        try:
            return bool(self.run("ip", "link", "show", name))
        except subprocess.CalledProcessError:
            return False

    def close(self) -> None:
        """End the namespace."""
        stop(self.holder)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _is_sleeping(self) -> bool:
        # By then setpriv, nsenter and unshare have done their work.
        return Path(f"/proc/{self.pid}/comm").read_text() == "sleep\n"
