"""Where a worker runs: in a child process, or for tests in a thread.

The child is the interpreter itself around one function of `wirebay._core`. It runs with -I and -S, which
leaves out site-packages and everything a site imports, and loads the extension by its path.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Protocol

from wirebay.errors import WorkerError
from wirebay.waiting import readable, resolve

# The worker needs a descriptor for each flow; this is also the kernel's own limit (fs.nr_open).
MAX_DESCRIPTORS = 1 << 20

BOOT = """\
import sys
from importlib.machinery import ExtensionFileLoader, ModuleSpec
loader = ExtensionFileLoader("wirebay._core", sys.argv[2])
core = loader.create_module(ModuleSpec("wirebay._core", loader, origin=sys.argv[2]))
loader.exec_module(core)
core.run_worker(int(sys.argv[1]))
"""


class Host(Protocol):
    """Where a worker runs. `pid` is its process; for a thread, our own."""

    @property
    def pid(self) -> int:
        """Its process id."""

    async def ended(self) -> str:
        """Wait until it is gone; returns how it went, e.g. "was killed by signal 9 (SIGKILL)"."""

    def kill(self) -> None:
        """End it by force and reap it; does nothing to one that is gone."""


class ProcessHost:
    """A worker in a child process; `theirs` is its end of the control pair."""

    def __init__(self, theirs: socket.socket, script: str, *arguments: str) -> None:
        fd = theirs.fileno()
        command = [sys.executable, "-I", "-S", "-c", script, str(fd), *arguments]
        # A session of its own from the start: Ctrl-C at the terminal is for us, not for the worker.
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, pass_fds=(fd,), start_new_session=True
        )
        self._pidfd = -1
        try:
            self._pidfd = os.pidfd_open(self._process.pid)
        except OSError:
            self.kill()
            raise
        raise_descriptor_limit(self._process.pid)

    @classmethod
    def around_core(cls, theirs: socket.socket) -> ProcessHost:
        """The packet worker itself. Raises WorkerError when the extension module is missing."""
        return cls(theirs, BOOT, extension_path())

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    async def ended(self) -> str:
        """Wait until it is gone; returns how it went."""
        if self._process.returncode is None:
            await readable(self._pidfd)
        return describe_status(self._process.wait())

    def kill(self) -> None:
        """End and reap it; closes our descriptors of it."""
        if self._process.returncode is None:
            self._process.kill()
            self._process.wait()
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1


class ThreadHost:
    """A worker in a thread of this process; `theirs` is its end of the control pair."""

    def __init__(self, theirs: socket.socket) -> None:
        from wirebay import _core

        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._error: BaseException | None = None
        # run_worker() owns the descriptor that it is given, and closes it.
        arguments = (_core.run_worker, os.dup(theirs.fileno()))
        self._thread = threading.Thread(target=self._run, args=arguments, daemon=True)
        self._thread.start()

    def _run(self, run_worker: Callable[..., None], fd: int) -> None:
        try:
            run_worker(fd, confine=False)
        except BaseException as error:
            self._error = error
        with contextlib.suppress(RuntimeError):  # nobody waits: the loop is closed
            self._loop.call_soon_threadsafe(resolve, self._ended)

    @property
    def pid(self) -> int:
        """Its process id."""
        return os.getpid()

    async def ended(self) -> str:
        """Wait until it is gone; returns how it went."""
        await asyncio.shield(self._ended)
        self._thread.join()
        return f"failed: {self._error}" if self._error else "ended"

    def kill(self) -> None:
        """A thread cannot be killed; it ends by itself when the control socket closes."""


def extension_path() -> str:
    """Path of the compiled half, found without loading it. Raises WorkerError when it is not installed."""
    spec = importlib.util.find_spec("wirebay._core")
    if spec is None or not spec.origin:
        raise WorkerError("the extension module wirebay._core is missing: build it with 'pip install .'")
    return spec.origin


def raise_descriptor_limit(pid: int) -> None:
    """Give the process `pid` room for 64 k flows, if we may (CAP_SYS_RESOURCE).

    Without, the worker takes what its hard limit allows.
    """
    with contextlib.suppress(OSError, ValueError):
        _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        if hard != resource.RLIM_INFINITY and hard < MAX_DESCRIPTORS:
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (MAX_DESCRIPTORS, MAX_DESCRIPTORS))


def describe_status(status: int) -> str:
    """How a process ended, from `Popen.returncode`: a positive exit status or a negative signal number."""
    if status >= 0:
        return f"exited with status {status}"
    try:
        return f"was killed by signal {-status} ({signal.Signals(-status).name})"
    except ValueError:
        return f"was killed by signal {-status}"
