"""Programs that tests start, what they start in turn, and how to wait for them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.guests.console import tied

WIREBAY = (sys.executable, "-m", "wirebay")
TIMEOUT = 60.0


def wait_for(what: str, happened: Callable[[], object]) -> None:
    """Wait until something is so, for things of other processes that have no event for us."""
    end = time.monotonic() + TIMEOUT
    while not happened():
        assert time.monotonic() < end, f"timed out waiting for {what}"
        time.sleep(0.01)


def children(pid: int) -> list[int]:
    """The processes that `pid` started."""
    files = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(word) for file in files for word in file.read_text().split()]


def command_line(pid: int) -> str:
    """Its words, each with a NUL behind it; empty for one that is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def child_named(pid: int, text: str) -> int:
    """The child of `pid` with `text` in its command line."""
    (found,) = [child for child in children(pid) if text in command_line(child)]
    return found


def gone(pid: int) -> bool:
    """Whether the process has ended: there is none, or only its status."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@contextmanager
def started(command: Sequence[str], *keep: int) -> Iterator[subprocess.Popen[str]]:
    """A program with pipes for its standard streams, and the descriptors `keep`; killed if it still runs."""
    pipe = subprocess.PIPE
    with subprocess.Popen(
        tied(command), pass_fds=keep, stdin=pipe, stdout=pipe, stderr=pipe, text=True
    ) as program:
        try:
            yield program
        finally:
            program.kill()


@contextmanager
def running(words: Sequence[str], *, before: Sequence[str] = ()) -> Iterator[subprocess.Popen[str]]:
    """`wirebay` with these words, which has said by --ready-fd that it is up; `before` is what runs it."""
    ready, told = os.pipe()
    command, *rest = words
    with started([*before, *WIREBAY, command, "--ready-fd", str(told), *rest], told) as program:
        os.close(told)
        with os.fdopen(ready, "rb") as file:
            assert file.read() == b"1", program.communicate(timeout=TIMEOUT)
        yield program


def failure(words: Sequence[str], *, before: Sequence[str] = ()) -> tuple[int, str]:
    """Run `wirebay` with these words, which fails; its exit status and its one sentence."""
    run = subprocess.run(
        [*before, *WIREBAY, *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert run.stdout == ""
    assert run.stderr.startswith("wirebay"), run.stderr
    assert run.stderr.count("\n") == 1, run.stderr
    return run.returncode, run.stderr.rstrip("\n")
