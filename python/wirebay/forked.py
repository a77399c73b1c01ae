"""Work in a forked child: what only a process of its own can do, such as entering a namespace.

The child runs one function and then ends; it never returns into the caller's code. It reports over a socket
pair, in JSON with descriptors beside it, and so do its errors: one sentence and the exit status that goes
with it. A child whose parent dies is killed by the kernel.

Forking is safe here even beside an event loop or threads, because the child does nothing but system calls:
it takes no lock, runs no callback, flushes no buffer.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from wirebay import _core
from wirebay.errors import HostError, OptionError, WirebayError

__all__ = ["Child", "Report", "run_in_child"]

Report = dict[str, Any]
MAX_REPORT = 65536
MAX_FDS = 4


class Child:
    """A forked child, seen from the parent: `pid`, and the channel on which it reports.

    The one who waits for the child to the end may be somebody else; `close` takes care of what is left.
    """

    def __init__(self, pid: int, channel: socket.socket) -> None:
        self.pid = pid
        self._channel = channel
        self._pidfd = os.pidfd_open(pid)  # unlike the pid, it never means another process

    @classmethod
    def fork(cls, body: Callable[[Channel], int]) -> Child:
        """Fork; the child runs `body` and ends with the status that it returns. Raises HostError."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        parent = os.getpid()
        try:
            with warnings.catch_warnings():
                # Python 3.12 warns of threads; why they do no harm is said at the top.
                warnings.simplefilter("ignore", DeprecationWarning)
                pid = os.fork()
        except OSError as error:
            ours.close()
            theirs.close()
            raise HostError(f"no process could be forked: {error.strerror}") from error
        if pid == 0:
            ours.close()
            _run(body, Channel(theirs), parent)
        theirs.close()
        return cls(pid, ours)

    def receive(self) -> tuple[Report, list[int]]:
        """Wait for the child's next report and the descriptors beside it, which are the caller's to close.

        Raises OptionError or HostError with the child's sentence if it failed, HostError if it died without
        one.
        """
        data, fds, _, _ = socket.recv_fds(self._channel, MAX_REPORT, MAX_FDS)
        for fd in fds:
            os.set_inheritable(fd, False)
        if not data:
            raise HostError(f"the child process that sets up the namespace died{self._how()}")
        report: Report = json.loads(data)
        if "error" in report:
            raise (OptionError if report["status"] == OptionError.exit_status else HostError)(report["error"])
        return report, fds

    def tell(self, report: Report) -> None:
        """Send the child a message. One that is dead shows at the next `receive`."""
        with contextlib.suppress(OSError):
            self._channel.send(json.dumps(report).encode())

    def close(self) -> None:
        """Hang up, and kill and reap the child if it still is there; does nothing the second time."""
        self._channel.close()
        if self._pidfd < 0:
            return
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED)
        os.close(self._pidfd)
        self._pidfd = -1

    def _how(self) -> str:
        try:
            end = os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED | os.WNOWAIT)
        except ChildProcessError:  # whoever started us had SIGCHLD ignored
            end = None
        if end is None:
            return ""
        return (
            f" with status {end.si_status}" if end.si_code == os.CLD_EXITED else f" of signal {end.si_status}"
        )


class Channel:
    """The child's end."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel

    def report(self, report: Report, fds: Sequence[int] = ()) -> None:
        """Send a report to the parent, with descriptors. Raises OSError when it is gone."""
        socket.send_fds(self._channel, [json.dumps(report).encode()], list(fds))

    def wait(self) -> Report | None:
        """The parent's next message; None when it hung up."""
        data = self._channel.recv(MAX_REPORT)
        message: Report | None = json.loads(data) if data else None
        return message


def run_in_child(work: Callable[[], tuple[Report, list[int]]]) -> tuple[Report, list[int]]:
    """Run `work` in a child, and return what it returns: a report, and descriptors which the caller closes.

    Raises what `work` raises, as OptionError or HostError with the same sentence.
    """

    def body(channel: Channel) -> int:
        channel.report(*work())
        return 0

    child = Child.fork(body)
    try:
        return child.receive()
    finally:
        child.close()


def die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent dies; exits at once if `parent` is dead already."""
    _core.set_parent_death_signal(signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _run(body: Callable[[Channel], int], channel: Channel, parent: int) -> None:
    """The child's whole life. It never returns: what is on the stack is the parent's to clean up."""
    status = 1
    try:
        signal.set_wakeup_fd(-1)  # it is the wake-up of the parent's event loop
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # a Ctrl-C ends it as it ends any program
        die_with(parent)
        status = body(channel)
    except WirebayError as error:
        _complain(channel, str(error), error.exit_status)
    except OSError as error:
        _complain(channel, f"setting up the namespace failed: {error}", 1)
    except Exception as error:  # the parent is told, whatever it is
        _complain(channel, f"setting up the namespace failed unexpectedly: {error!r}", 1)
    finally:
        os._exit(status)


def _complain(channel: Channel, sentence: str, status: int) -> None:
    with contextlib.suppress(OSError):
        channel.report({"error": sentence, "status": status})
