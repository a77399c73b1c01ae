"""Debian packages, fetched and unpacked without root and without installing anything."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

KERNEL = re.compile(r"^linux-image-\d\S*$")


class ImageError(Exception):
    """The guest image cannot be built; the text is one sentence."""


class Apt:
    """The host's package sources, with lists of our own where the host has none."""

    def __init__(self, cache: Path) -> None:
        if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
            raise ImageError("The guest is made from Debian packages, and this host has no apt-get.")
        self.cache = cache
        self.options: tuple[str, ...] = ()
        if not self._knows("linux-image-amd64"):
            self._fetch_lists()

    def kernel_package(self) -> str:
        """The name of the package that linux-image-amd64 stands for today."""
        lines = self._run(["apt-cache", "depends", "--important", "linux-image-amd64"]).splitlines()
        names = [line.removeprefix("Depends:").strip() for line in map(str.strip, lines)]
        for name in names:
            if KERNEL.match(name):
                return name
        raise ImageError("apt-cache names no kernel package behind linux-image-amd64.")

    def unpack(self, package: str, into: Path) -> None:
        """Download `package` and unpack its files below `into`."""
        with tempfile.TemporaryDirectory(dir=self.cache) as folder:
            self._run(["apt-get", "download", "-q", package], cwd=Path(folder))
            (archive,) = Path(folder).glob("*.deb")
            _checked(["dpkg-deb", "-x", str(archive), str(into)])

    def _knows(self, package: str) -> bool:
        policy = self._run(["apt-cache", "policy", package])
        return "Candidate:" in policy and "Candidate: (none)" not in policy

    def _fetch_lists(self) -> None:
        state = self.cache / "apt"
        (state / "lists" / "partial").mkdir(parents=True, exist_ok=True)
        (state / "archives" / "partial").mkdir(parents=True, exist_ok=True)
        settings = (f"Dir::State::Lists={state}/lists", f"Dir::Cache={state}", "Debug::NoLocking=1")
        self.options = tuple(f"-o{setting}" for setting in settings)
        self._run(["apt-get", "update", "-q"])
        if not self._knows("linux-image-amd64"):
            raise ImageError("The host's package sources offer no linux-image-amd64.")

    def _run(self, command: Sequence[str], cwd: Path | None = None) -> str:
        program, *words = command
        return _checked([program, *self.options, *words], cwd)


def _checked(command: Sequence[str], cwd: Path | None = None) -> str:
    try:
        done = subprocess.run(command, cwd=cwd, text=True, capture_output=True, timeout=300)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ImageError(f"{command[0]} did not work: {error}.") from error
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise ImageError(f"'{' '.join(command)}' failed: {last}")
    return done.stdout
