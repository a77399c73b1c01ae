"""The small parts of a daemon: pid file, inherited sockets, log."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from wirebay.cli.activation import check_names
from wirebay.cli.logs import BURST, MOST, PERIOD, NoStorms, OneLine, start_log
from wirebay.cli.notify import Notifier
from wirebay.cli.pidfile import pid_file
from wirebay.cli.serve import run
from wirebay.errors import HostError, OptionError

# Puts the descriptors in its place, then runs what is asked with LISTEN_PID as its own.
ACTIVATE = """
import fcntl, os, sys
copies = [fcntl.fcntl(int(fd), fcntl.F_DUPFD, 100) for fd in sys.argv[1].split(",")]
for number, fd in enumerate(copies):
    os.dup2(fd, 3 + number)
os.environ["LISTEN_PID"] = str(os.getpid())
from wirebay.cli.activation import listeners_of_manager
from wirebay.errors import OptionError
try:
    with listeners_of_manager() as found:
        print(sorted(found), [name for name in os.environ if name.startswith("LISTEN")])
except OptionError as error:
    print(error)
"""


def activated(fds: list[int], **environment: str) -> str:
    """What a process finds that was started with these descriptors."""
    return subprocess.run(
        [sys.executable, "-c", ACTIVATE, ",".join(map(str, fds))],
        pass_fds=fds, env={**os.environ, **environment}, text=True, capture_output=True, check=True,
    ).stdout.strip()  # fmt: skip


def test_sockets_come_by_their_names_and_the_environment_is_cleared() -> None:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        fds = [one.fileno(), two.fileno()]
        assert activated(fds, LISTEN_FDS="2", LISTEN_FDNAMES="vm0:control") == "['control', 'vm0'] []"
        assert activated(fds, LISTEN_FDS="2", LISTEN_FDNAMES="a:a").startswith("LISTEN_FDNAMES has 'a' twice")
        assert activated(fds, LISTEN_FDS="x") == "LISTEN_FDS is no number: 'x'"


def test_only_listening_stream_sockets_are_taken() -> None:
    with socket.socket() as plain, socket.socket(type=socket.SOCK_DGRAM) as datagrams:
        for sock in (plain, datagrams):
            told = activated([sock.fileno()], LISTEN_FDS="1", LISTEN_FDNAMES="vm0")
            assert told == "the socket 'vm0' of LISTEN_FDS is not a listening stream socket"
    read, write = os.pipe()
    assert "cannot be used" in activated([read], LISTEN_FDS="1")
    os.close(read)
    os.close(write)


def test_sockets_for_another_process_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from wirebay.cli.activation import listeners_of_manager

    monkeypatch.setenv("LISTEN_PID", "1")
    monkeypatch.setenv("LISTEN_FDS", "1")
    with listeners_of_manager() as found:
        assert found == {}


def test_a_socket_for_nothing_is_refused() -> None:
    check_names(["vm0"], {"vm0", "control"})
    with pytest.raises(
        OptionError, match=r"the socket 'vm9' of LISTEN_FDS is for nothing here: .* control, vm0$"
    ):
        check_names(["vm9"], {"vm0", "control"})


def test_a_pid_file_is_there_as_long_as_the_process(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    with pid_file(str(path)):
        assert path.read_text() == f"{os.getpid()}\n"
        with (
            pytest.raises(HostError, match=f"^--pid-file {path}: another process runs with it$"),
            pid_file(str(path)),
        ):
            pass
        assert path.exists()
    assert not path.exists()
    with pid_file(None):
        assert list(tmp_path.iterdir()) == []


def test_a_pid_file_of_a_dead_process_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    path.write_text("123456789012\n")
    with pid_file(str(path)):
        assert path.read_text() == f"{os.getpid()}\n"


def test_a_pid_file_that_somebody_put_in_our_place_stays(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    with pid_file(str(path)):
        path.unlink()
        path.write_text("theirs")
    assert path.read_text() == "theirs"


def test_a_pid_file_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/dev/null")
    for path, reason in (("none/pid", "No such file"), ("", "Is a directory"), ("link", "Too many levels")):
        with pytest.raises(HostError, match=f"--pid-file .*: {reason}"), pid_file(f"{tmp_path}/{path}"):
            pass


def record(text: str, *, at: float = 0.0, line: int = 1) -> logging.LogRecord:
    made = logging.LogRecord("wirebay", logging.INFO, "file.py", line, text, (), None)
    made.created = at
    return made


def test_a_message_is_one_line_whatever_is_in_it() -> None:
    try:
        raise ValueError("a\nb")
    except ValueError:
        made = logging.LogRecord("x", logging.ERROR, "f", 1, "first\n\x1b[2Jsecond", (), sys.exc_info())
    text = OneLine("wirebay: %(message)s").format(made)
    assert text.startswith("wirebay: first | ?[2Jsecond | Traceback")
    assert text.endswith("ValueError: a | b")
    assert "\n" not in text


def test_a_place_that_logs_without_end_is_silenced_and_counted() -> None:
    storm = NoStorms()
    passed = [storm.filter(record("peer left", at=number / 100)) for number in range(1000)]
    assert sum(passed) == BURST
    assert storm.filter(record("something else", at=10, line=2))
    last = record("peer left", at=PERIOD)
    assert storm.filter(last)
    assert last.getMessage() == f"peer left ({1000 - BURST} more like this were left out)"
    assert storm.filter(quiet := record("peer left", at=PERIOD + 1))
    assert quiet.getMessage() == "peer left"


def test_many_things_may_be_told_of_at_once_but_not_without_end() -> None:
    storm = NoStorms()

    def about(number: int) -> logging.LogRecord:
        made = record("%s port '%s' is connected")
        made.args = ("stream", f"vm{number}")
        return made

    assert all(storm.filter(about(number)) for number in range(MOST))
    assert sum(storm.filter(about(number)) for number in range(MOST, 2 * MOST)) == BURST


def test_a_level_that_is_none_is_refused() -> None:
    with pytest.raises(OptionError, match="--log-level expects one of error, warning, info, debug"):
        start_log("loud")


def test_without_a_manager_nothing_is_told_and_nothing_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    Notifier().ready("x")
    monkeypatch.setenv("NOTIFY_SOCKET", "/nowhere")
    Notifier().ready("x")


def test_a_manager_with_an_abstract_socket_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"wirebay-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind(f"\0{name}")
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
        Notifier().stopping()
        ear.settimeout(10)
        assert ear.recv(100) == b"STOPPING=1\nSTATUS=cleaning up"


def test_there_must_be_something_to_serve() -> None:
    with pytest.raises(OptionError, match="give -netdev or --config"):
        run([])
