"""SMB: one directory of this host as a share, served by a real smbd (QEMU's option `smb=`).

As in QEMU, smbd runs for each connection in the style of inetd, with a configuration of its own in a private
directory, as the user that runs this, and offers one share, `qemu`, to guests without a password. It wants to
see the address of its peer, so its connection is a TCP pair on loopback rather than a unix one.

smbd starts helpers for what `smbclient -L` asks, in a session of their own, which would outlive it by some
minutes: `close` ends them by the process id that they leave in the private directory, and then removes that.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
from pathlib import Path

from wirebay.errors import HostError
from wirebay.private_directory import PrivateDirectory
from wirebay.services.programs import GRACE, Programs, loopback_pair, within
from wirebay.services.tcp import Client

__all__ = ["PORTS", "SmbServer"]

PORTS = (139, 445)
MAX_CONNECTIONS = 16
# QEMU has it compiled in; a user's path often lacks /usr/sbin.
EXTRA_PATH = "/usr/sbin:/usr/local/sbin:/sbin"

CONFIGURATION = """\
[global]
security = user
map to guest = Bad User
server role = standalone server
load printers = no
printing = bsd
disable spoolss = yes
usershare max shares = 0
interfaces = 127.0.0.1
bind interfaces only = yes
private dir = {private}
pid directory = {private}
lock directory = {private}
state directory = {private}
cache directory = {private}
ncalrpc dir = {private}/ncalrpc
smb passwd file = {private}/smbpasswd
log file = {private}/log.smbd

[qemu]
path = {directory}
read only = no
guest ok = yes
force user = {user}
"""


class SmbServer:
    """The server of one user network. Making one checks the directory and finds smbd; raises HostError."""

    def __init__(self, directory: str) -> None:
        check_directory(directory)
        self._smbd = find_smbd()
        user = user_name()
        self._directory = PrivateDirectory()
        self._private = self._directory.path
        self._programs = Programs(MAX_CONNECTIONS)
        shared = str(Path(directory).resolve())
        self._configuration = self._private / "smb.conf"
        text = CONFIGURATION.format(private=self._private, directory=shared, user=user)
        self._configuration.write_bytes(os.fsencode(text))

    async def connect(self, _: Client) -> socket.socket:
        """The far end of a connection: a new smbd. Raises HostError."""
        # smbd enters the directory for temporary files as "nobody", who may not be let into ours.
        environment = {name: value for name, value in os.environ.items() if name != "TMPDIR"}
        return self._programs.start(self.command(), loopback_pair, environment)

    def command(self) -> list[str]:
        """How smbd is run: a socket as its input makes it serve that one connection."""
        return [self._smbd, "-l", str(self._private), "-s", str(self._configuration)]

    async def close(self) -> None:
        """End every smbd and helper, and remove the private directory."""
        await self._programs.close()
        for file in list(self._private.glob("*.pid")):
            await self._end_helper(file)
        self._directory.close()

    async def _end_helper(self, file: Path) -> None:
        """End the process group of a helper."""
        with contextlib.suppress(OSError, ValueError):
            pid = self._helper(file)
            pidfd = os.pidfd_open(pid)
            try:
                os.killpg(pid, signal.SIGTERM)
                await within(GRACE, pidfd)  # or it would still write where everything is removed
            finally:
                os.close(pidfd)

    def _helper(self, file: Path) -> int:
        """The process that `file` names. Raises ValueError, OSError when it is none of ours."""
        pid = int(file.read_text())
        if os.fsencode(self._configuration) not in Path(f"/proc/{pid}/cmdline").read_bytes():
            raise ValueError(f"process {pid} has nothing to do with {self._configuration}")
        return pid


def check_directory(directory: str) -> None:
    """Raise HostError, with QEMU's sentence, for a directory that cannot be shared."""
    try:
        os.scandir(directory).close()
    except OSError as error:
        raise HostError(f"Error accessing shared directory '{directory}': {error.strerror}") from error
    if any(mark in directory for mark in "\n\r%"):
        # They would be other lines of the configuration, or variables that smbd fills in.
        raise HostError(f"Error accessing shared directory '{directory}': its name has a line break or '%'")


def find_smbd() -> str:
    """The path of smbd. Raises HostError with QEMU's sentence and the package that has it."""
    path = shutil.which("smbd", path=f"{os.environ.get('PATH', os.defpath)}:{EXTRA_PATH}")
    if path is None:
        raise HostError("Could not find 'smbd', please install it (on Debian: the package samba)")
    return path


def user_name() -> str:
    """The name of the user that runs this. Raises HostError with QEMU's sentence."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        raise HostError("Failed to retrieve user name") from None
