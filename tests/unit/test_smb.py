"""SMB as far as it goes without smbd: what is checked, what is written, and what is left."""

from __future__ import annotations

import asyncio
import configparser
import os
import pwd
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path

import pytest

from tests.unit.lab import until
from wirebay.errors import HostError
from wirebay.services import smb
from wirebay.services.smb import SmbServer
from wirebay.services.tcp import Client

pytestmark = pytest.mark.anyio

GUEST = Client(ip_address("10.0.2.15"), 4000)


@pytest.fixture
def fake_smbd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An smbd that says how it was called."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "smbd").write_text('#!/bin/sh\necho "$@"\n')
    (programs / "smbd").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")


@pytest.fixture
def share(tmp_path: Path) -> str:
    directory = tmp_path / "my share"
    directory.mkdir()
    return str(directory)


async def called(server: SmbServer) -> list[str]:
    """The arguments of the smbd of a new connection."""
    with await server.connect(GUEST) as far:
        far.setblocking(False)
        line = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(far, 1000), 10)
    return line.decode().split()


def written(private: Path) -> configparser.ConfigParser:
    """The configuration, in a directory for its owner alone."""
    assert stat.S_IMODE(private.stat().st_mode) == 0o700
    settings = configparser.ConfigParser(interpolation=None)
    settings.read(private / "smb.conf")
    return settings


@pytest.mark.usefixtures("fake_smbd")
async def test_the_configuration_is_private_has_one_share_and_is_removed(share: str) -> None:
    server = SmbServer(share)
    log_dir, private, option, configuration = await called(server)
    assert (log_dir, option, configuration) == ("-l", "-s", f"{private}/smb.conf")
    settings = written(Path(private))
    assert settings.sections() == ["global", "qemu"]
    user = pwd.getpwuid(os.geteuid()).pw_name
    expected = {"path": share, "read only": "no", "guest ok": "yes", "force user": user}
    assert dict(settings["qemu"]) == expected
    assert settings["global"]["map to guest"] == "Bad User"
    assert all(
        settings["global"][f"{what} directory"] == private for what in ("pid", "lock", "state", "cache")
    )
    await server.close()
    assert not is_there(private)


def is_there(path: str) -> bool:
    return Path(path).exists()


@contextmanager
def helpers(private: str, configuration: str) -> Iterator[tuple[subprocess.Popen[bytes], ...]]:
    """A helper with our configuration, another process, and what they leave in the private directory."""
    script = "import time; time.sleep(1000)"
    # Not python3, which may be a script that becomes others, and has no command line in between.
    ours = subprocess.Popen([sys.executable, "-c", script, configuration], start_new_session=True)
    other = subprocess.Popen([sys.executable, "-c", script], start_new_session=True)
    for name, text in (("helper", ours.pid), ("other", other.pid), ("nonsense", "x")):
        Path(private, f"{name}.pid").write_text(f"{text}\n")
    try:
        yield ours, other
    finally:
        for process in (ours, other):
            process.kill()
            process.wait()


@pytest.mark.usefixtures("fake_smbd")
async def test_helpers_of_ours_are_ended_and_others_left_alone(share: str) -> None:
    server = SmbServer(share)
    _, private, _, configuration = await called(server)
    with helpers(private, configuration) as (ours, other):
        await until(lambda: configuration.encode() in Path(f"/proc/{ours.pid}/cmdline").read_bytes())
        await server.close()
        assert ours.wait(10) == -signal.SIGTERM
        assert other.poll() is None


@pytest.mark.usefixtures("fake_smbd")
@pytest.mark.parametrize(
    ("directory", "reason"),
    [("/nonexistent", "No such file or directory"), ("/dev/null", "Not a directory")],
)
async def test_a_directory_that_cannot_be_shared_is_told_in_qemus_words(directory: str, reason: str) -> None:
    with pytest.raises(HostError) as error:
        SmbServer(directory)
    assert str(error.value) == f"Error accessing shared directory '{directory}': {reason}"


@pytest.mark.usefixtures("fake_smbd")
@pytest.mark.parametrize("name", ["two\nlines", "100%U"])
async def test_a_name_that_would_change_the_configuration_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    with pytest.raises(HostError, match="its name has a line break or '%'"):
        SmbServer(str(tmp_path / name))


async def test_without_smbd_the_package_is_named(share: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(smb, "EXTRA_PATH", "/nonexistent")
    with pytest.raises(HostError) as error:
        SmbServer(share)
    sentence = "Could not find 'smbd', please install it (on Debian: the package samba)"
    assert str(error.value) == sentence
