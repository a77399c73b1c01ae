"""The file of the control socket: whose it is, what it replaces, what it leaves alone."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from wirebay.control import place
from wirebay.control.place import listening_at, stranger
from wirebay.errors import HostError, OptionError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "control.sock"


@pytest.fixture
def no_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def refusal(path: Path | str) -> str:
    with pytest.raises(HostError) as error, listening_at(str(path)):
        pass
    return str(error.value)


@pytest.mark.usefixtures("no_umask")
def test_only_its_owner_has_the_socket_and_it_goes_at_the_end(path: Path) -> None:
    with listening_at(str(path)):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert path.stat().st_uid == os.geteuid()
    assert not path.exists()


@pytest.fixture
def peer() -> Iterator[socket.socket]:
    """A socket whose other end is ours too."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours


def test_the_owner_is_known_by_the_kernel(peer: socket.socket) -> None:
    assert stranger(peer) is None


def test_others_are_strangers_and_root_is_not(peer: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: mine + 1)
    monkeypatch.setattr(place, "ROOT", mine + 2)
    assert stranger(peer) == f"a process of user {mine}"
    monkeypatch.setattr(place, "ROOT", mine)
    assert stranger(peer) is None


def test_the_owner_in_another_network_namespace_is_a_stranger(
    peer: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(place, "shares_network", lambda pid: pid != os.getpid())
    who = f"process {os.getpid()}, which is in another network namespace,"
    assert stranger(peer) == who


def test_a_process_that_has_left_shares_no_network() -> None:
    assert place.shares_network(os.getpid())
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        pass
    assert not place.shares_network(gone.pid)


def test_a_place_where_somebody_listens_is_left_alone(path: Path) -> None:
    with listening_at(str(path)) as listener:
        assert refusal(path) == f"--control {path}: another process listens there"
        listener.accept()[0].close()  # the one who looked
        with socket.socket(socket.AF_UNIX) as peer:
            peer.connect(str(path))
            listener.accept()[0].close()


def test_a_socket_with_a_full_backlog_is_alive(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as waiting:
        busy.bind(str(path))
        busy.listen(0)
        waiting.connect(str(path))
        assert refusal(path) == f"--control {path}: another process listens there"
    assert path.exists()


def test_a_socket_that_somebody_left_is_replaced(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with listening_at(str(path)) as listener, socket.socket(socket.AF_UNIX) as peer:
        peer.connect(str(path))
        listener.accept()[0].close()


def test_a_file_that_is_no_socket_is_left_alone(path: Path) -> None:
    path.write_text("mine")
    assert refusal(path) == f"--control {path}: the path exists and is not a socket"
    assert path.read_text() == "mine"


def test_a_socket_that_took_the_place_of_ours_stays(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        with listening_at(str(path)):
            path.unlink()
            other.bind(str(path))
        assert path.exists()


def test_a_place_that_cannot_be_had_is_one_sentence(path: Path) -> None:
    assert refusal(path / "no" / "sock") == f"--control {path}/no/sock: No such file or directory"
    assert not path.exists()


def test_a_path_that_no_socket_can_have_is_refused() -> None:
    with pytest.raises(OptionError, match="is too long"), listening_at("x" * 108):
        pass


def test_the_directory_for_sockets_is_made_where_it_belongs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    place = tmp_path / "wirebay" / "lab.sock"
    with listening_at(str(place)):
        assert stat.S_IMODE(place.parent.stat().st_mode) == 0o700
        assert place.is_socket()
    assert refusal(tmp_path / "other" / "lab.sock").endswith("No such file or directory")
