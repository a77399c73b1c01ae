"""Forked children: what they report, how they fail, and that none is left behind."""

from __future__ import annotations

import os
import signal
import time

import pytest

from wirebay.errors import HostError, OptionError
from wirebay.forked import Channel, Child, Report, run_in_child


def forever(channel: Channel) -> int:
    channel.report({"pid": os.getpid()})
    time.sleep(60)
    return 0


def is_ours(pid: int) -> bool:
    """Is there a child `pid`, alive or not yet reaped?"""
    try:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def test_a_report_comes_back_with_its_descriptors() -> None:
    read, write = os.pipe()
    report, fds = run_in_child(lambda: ({"name": "tap0"}, [write]))
    os.close(write)
    assert report == {"name": "tap0"}
    assert not os.get_inheritable(fds[0])
    os.write(fds[0], b"through")
    assert os.read(read, 100) == b"through"
    os.close(fds[0])
    os.close(read)


@pytest.mark.parametrize(
    ("error", "expected", "sentence"),
    [
        (OptionError("mtu: too small"), OptionError, "^mtu: too small$"),
        (HostError("no tun here"), HostError, "^no tun here$"),
        (
            PermissionError(13, "Permission denied", "/proc/x"),
            HostError,
            "failed: .*Permission denied: '/proc/x'",
        ),
        (ZeroDivisionError("oops"), HostError, "failed unexpectedly: ZeroDivisionError"),
    ],
)
def test_what_fails_in_the_child_is_raised_in_the_parent(
    error: Exception, expected: type[Exception], sentence: str
) -> None:
    def work() -> tuple[Report, list[int]]:
        raise error

    with pytest.raises(expected, match=sentence):
        run_in_child(work)


@pytest.mark.parametrize(("how", "words"), [(None, "with status 3"), (signal.SIGKILL, "of signal 9")])
def test_a_child_that_dies_without_a_word_is_reported(how: int | None, words: str) -> None:
    def work() -> tuple[Report, list[int]]:
        if how is not None:
            os.kill(os.getpid(), how)
        os._exit(3)

    with pytest.raises(HostError, match=f"sets up the namespace died {words}$"):
        run_in_child(work)


def test_closing_kills_and_reaps_a_child_that_still_runs() -> None:
    child = Child.fork(forever)
    child.receive()
    child.close()
    assert not is_ours(child.pid)
    child.close()


def test_closing_a_child_that_somebody_else_reaped_does_nothing() -> None:
    child = Child.fork(lambda channel: 0)
    os.waitpid(child.pid, 0)
    child.close()


def test_parent_and_child_can_talk() -> None:
    def echo(channel: Channel) -> int:
        channel.report({"heard": channel.wait()})
        return 0 if channel.wait() is None else 1

    child = Child.fork(echo)
    child.tell({"say": "hello"})
    assert child.receive()[0] == {"heard": {"say": "hello"}}
    child.close()


def test_a_child_dies_with_its_parent() -> None:
    def leave_a_child(channel: Channel) -> int:
        Child.fork(forever).receive()
        return 0

    read, write = os.pipe()
    parent = Child.fork(leave_a_child)
    os.close(write)
    os.waitpid(parent.pid, 0)
    parent.close()
    assert os.read(read, 1) == b""  # end of file: nobody holds the other end any more
    os.close(read)
