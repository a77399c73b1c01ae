"""wirebay serve as a process: it ends cleanly, whatever ends it."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

COMMAND = [sys.executable, "-c", "import sys; from wirebay.cli import main; sys.exit(main())", "serve"]


@contextmanager
def serving(
    *netdevs: str, words: Sequence[str] = (), stdin: int | None = None, stdout: int | None = None
) -> Iterator[subprocess.Popen[str]]:
    """`wirebay serve` that is ready; `words` are further options."""
    read, write = os.pipe()
    words = [*words, *(word for netdev in netdevs for word in ("-netdev", netdev))]
    with subprocess.Popen(
        [*COMMAND, *words, "--ready-fd", str(write)],
        stdin=stdin,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        pass_fds=(write,),
    ) as process:
        os.close(write)
        try:
            with os.fdopen(read, "rb") as ready:
                assert ready.read() == b"1"
            yield process
        finally:
            process.kill()


def worker_of(process: subprocess.Popen[str]) -> int:
    (pid,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return int(pid)


def is_gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    path = tmp_path / "vm0.sock"
    stream = f"stream,id=vm0,server=on,addr.type=unix,addr.path={path}"
    with serving("user,id=u0", stream) as process, socket.socket(socket.AF_UNIX) as peer:
        peer.connect(str(path))
        worker = worker_of(process)
        process.send_signal(number)
        _, errors = process.communicate(timeout=10)
        assert process.returncode == 0
        assert f"vm0: listening on unix:{path}\n" in errors
        assert "Traceback" not in errors
        assert not path.exists()
        assert is_gone(worker)


def test_a_killed_worker_ends_it_with_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "vm0.sock"
    with serving(f"stream,id=vm0,server=on,addr.type=unix,addr.path={path}") as process:
        worker = worker_of(process)
        os.kill(worker, signal.SIGKILL)
        _, errors = process.communicate(timeout=10)
        assert process.returncode == 1
        sentence = f"the packet worker (pid {worker}) was killed by signal 9 (SIGKILL); the network is down"
        assert errors.splitlines()[-1] == f"wirebay: {sentence}"
        assert not path.exists()


def test_a_killed_parent_takes_the_worker_along(tmp_path: Path) -> None:
    with serving(f"stream,id=vm0,server=on,addr.type=unix,addr.path={tmp_path}/sock") as process:
        worker = os.pidfd_open(worker_of(process))
        process.kill()
        process.communicate(timeout=10)
        assert select.select([worker], [], [], 5)[0] == [worker]
        os.close(worker)


def test_an_address_in_use_is_one_sentence_with_status_1() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        rule = f"tcp:127.0.0.1:{taken.getsockname()[1]}-:22"
        done = subprocess.run(
            [*COMMAND, "-netdev", f"user,id=u0,hostfwd={rule}"], capture_output=True, text=True, timeout=30
        )
    assert done.returncode == 1
    sentence = f"wirebay: Could not set up host forwarding rule '{rule}': Address already in use\n"
    assert done.stderr == sentence


@pytest.mark.parametrize(
    ("netdev", "sentence"),
    [
        ("user,id=u0,foo=1", "Invalid parameter 'foo'"),
        ("stream,id=s0,server=on,addr.type=unix", "Parameter 'addr.path' is missing"),
        ("hubport,id=h0,hubid=0,netdev=foo", "netdev 'foo' not found"),
    ],
)
def test_wrong_usage_is_one_sentence_with_status_2(netdev: str, sentence: str) -> None:
    done = subprocess.run([*COMMAND, "-netdev", netdev], capture_output=True, text=True, timeout=30)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert len(done.stderr.splitlines()) == 1
