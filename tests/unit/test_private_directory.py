"""Directories of a run's own: removed at the end, and those of killed runs by the next."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import wirebay
from wirebay.private_directory import MARK, PrivateDirectory, take_lock

SOURCES = str(Path(wirebay.__path__[0]).parent)
# Makes a directory, with something in it, and waits.
MAKER = """
import sys
sys.path.insert(0, sys.argv[1])
from wirebay.private_directory import PrivateDirectory
directory = PrivateDirectory(sys.argv[2])
(directory.path / "net0.sock").touch()
(directory.path / "below").mkdir()
(directory.path / "below" / "file").touch()
print(directory.path, flush=True)
input()
"""


def left_by_a_killed_process(base: Path) -> Path:
    with subprocess.Popen(
        [sys.executable, "-c", MAKER, SOURCES, str(base)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        path = Path(process.stdout.readline().strip())
        process.send_signal(signal.SIGKILL)
    assert (path / "below" / "file").exists()
    return path


def test_a_directory_is_private_and_gone_at_the_end(tmp_path: Path) -> None:
    with PrivateDirectory(str(tmp_path)) as directory:
        assert directory.path.parent == tmp_path
        assert directory.path.stat().st_mode & 0o777 == 0o700
        (directory.path / "file").touch()
    assert list(tmp_path.iterdir()) == []
    directory.close()


def test_what_a_killed_process_left_goes_when_the_next_one_starts(tmp_path: Path) -> None:
    left = left_by_a_killed_process(tmp_path)
    with PrivateDirectory(str(tmp_path)) as directory:
        assert not left.exists()
        assert list(tmp_path.iterdir()) == [directory.path]


def test_directories_of_processes_that_live_stay(tmp_path: Path) -> None:
    with PrivateDirectory(str(tmp_path)) as first, PrivateDirectory(str(tmp_path)) as second:
        assert sorted(tmp_path.iterdir()) == sorted((first.path, second.path))


def test_what_only_looks_like_one_stays(tmp_path: Path) -> None:
    """A directory of that name without our mark, a mark that is a link, and a link to a directory."""
    elsewhere = left_by_a_killed_process(tmp_path)
    outside = tmp_path / "outside"
    elsewhere.rename(outside)
    (tmp_path / "wirebay-thesis").mkdir()
    (tmp_path / "wirebay-thesis" / "chapter").touch()
    (tmp_path / "wirebay-marked").mkdir()
    (tmp_path / "wirebay-marked" / MARK).symlink_to(outside / MARK)
    (tmp_path / "wirebay-link").symlink_to(outside)
    (tmp_path / "wirebay-file").touch()
    before = sorted(tmp_path.rglob("*"))
    PrivateDirectory(str(tmp_path)).close()
    assert sorted(tmp_path.rglob("*")) == before


def test_a_mark_that_was_removed_while_its_lock_was_awaited_is_not_taken(tmp_path: Path) -> None:
    """As when another process takes a directory that is being made for a stale one."""
    (tmp_path / MARK).touch()
    held = take_lock(tmp_path, 0)
    assert held is not None
    taken: list[int | None] = []
    waiting = threading.Thread(target=lambda: taken.append(take_lock(tmp_path, 0)))
    waiting.start()
    (tmp_path / MARK).unlink()
    os.close(held)
    waiting.join(10)
    assert taken == [None]
