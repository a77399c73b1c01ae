"""The back ends that are compared, and how each is started for the same guest, MTU and address plan."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench.guest import AS_USER, Namespace, privileged
from tests.bench.processes import stop, wait_until

TAP = "tap0"
HOST, GUEST = "10.0.2.2", "10.0.2.15"
LOOPBACK = "127.0.0.1"
# Makes DIR ($1) the root of this mount namespace and runs the rest. Not chroot: in one, the kernel refuses
# the user namespaces that pasta confines itself with.
INTO_ROOT = """
set -e
mount --make-rprivate /
mount --rbind "$1" "$1"
for folder in dev proc sys; do mount --rbind "/$folder" "$1/$folder"; done
# Peers that refuse to run as root cannot open a tun device that only root may open, as some hosts have it.
if [ "$(stat -c %a /dev/net/tun)" != 666 ]; then
    mount -t tmpfs tmpfs "$1/dev/net"
    mknod -m 666 "$1/dev/net/tun" c 10 200
fi
cd "$1"
pivot_root . mnt
umount -l /mnt
shift
exec "$@"
"""


class NotInstalled(Exception):
    """The peer's program is not on this host; the text says which."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What one measurement is made with; `root` is a directory that peers may be installed in."""

    guest: Namespace
    mtu: int
    nettool: Path
    folder: Path
    root: Path | None


@dataclass(frozen=True, kw_only=True)
class Running:
    """A connected guest: the address at which it finds the host's servers, and who does the work.

    The servers run in `side` and listen on `bind`: for a back end on the host and its loopback.
    """

    host: str
    pid: int | None = None
    side: Namespace | None = None
    bind: str = LOOPBACK


class Peer(ABC):
    """Something that can connect a guest. `program` must be on the host, or in the root for peers."""

    name: str
    program: str

    def find(self, root: Path | None) -> Path | None:
        """The root directory the program is run in, None for the host's own; raises NotInstalled."""
        if shutil.which(self.program):
            return None
        if root and any((root / place / self.program).exists() for place in ("usr/bin", "usr/sbin", "bin")):
            return root
        raise NotInstalled(f"{self.program} is not installed")

    @abstractmethod
    def connect(self, setting: Setting) -> AbstractContextManager[Running]:
        """Connect the guest for as long as the context lasts."""

    def starter(self, root: Path | None) -> list[str] | None:
        """A command that makes a namespace, runs `true` in it and ends; None where the peer has none."""
        return None


class BackEnd(Peer):
    """A program on the host that gives the guest a TAP and serves it."""

    @abstractmethod
    def command(self, setting: Setting) -> Sequence[str]:
        """The command that connects the guest."""

    def attach(self, setting: Setting, stack: ExitStack) -> None:
        """What else has to be done before there is a TAP in the guest."""

    def host(self) -> str:
        """The address that stands for the host's loopback in the guest."""
        return HOST

    @contextmanager
    def connect(self, setting: Setting) -> Iterator[Running]:
        with ExitStack() as stack:
            log = stack.enter_context((setting.folder / "peer.log").open("w"))
            command = [*into(self.find(setting.root)), *self.command(setting)]
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, text=True)
            stack.callback(stop, process)
            self.attach(setting, stack)
            wait_until(lambda: setting.guest.has_interface(TAP), f"{TAP} of {self.name}")
            yield Running(host=self.host(), pid=process.pid)


class Wirebay(BackEnd):
    name = "wirebay"
    program = "wirebay"

    def find(self, root: Path | None) -> Path | None:
        return None

    def command(self, setting: Setting) -> Sequence[str]:
        return [self._path(), "ns", "--pid", str(setting.guest.pid), "--mtu", str(setting.mtu)]

    def starter(self, root: Path | None) -> list[str] | None:
        return [self._path(), "ns", "--", "true"]

    @staticmethod
    def _path() -> str:
        """The command beside the interpreter that runs this."""
        return str(Path(sys.executable).with_name("wirebay"))


class Slirp4netns(BackEnd):
    name = program = "slirp4netns"

    def command(self, setting: Setting) -> Sequence[str]:
        return [self.program, "--configure", f"--mtu={setting.mtu}", str(setting.guest.pid), TAP]


class Pasta(BackEnd):
    name = program = "pasta"

    def command(self, setting: Setting) -> Sequence[str]:
        user = AS_USER if privileged() else ()
        address = ["-a", GUEST, "-n", "24", "-g", HOST, "--map-host-loopback", HOST, "-m", str(setting.mtu)]
        return [*user, *self._base(), *address, str(setting.guest.pid)]

    def starter(self, root: Path | None) -> list[str] | None:
        user = AS_USER if privileged() else ()
        return [*into(self.find(root)), *user, *self._base(), "--", "true"]

    def _base(self) -> list[str]:
        no_forwards = ["-t", "none", "-u", "none", "-T", "none", "-U", "none"]
        return [self.program, "-f", "-q", "--config-net", "-4", "-I", TAP, *no_forwards]


class Gvproxy(BackEnd):
    name = program = "gvproxy"
    gateway, address, loopback = "192.168.127.1", "192.168.127.2/24", "192.168.127.254"

    def command(self, setting: Setting) -> Sequence[str]:
        words = [
            "-ssh-port",
            "-1",
            "-mtu",
            str(setting.mtu),
            "-listen-qemu",
            f"unix://{self._inner(setting)}",
        ]
        return [self.program, *words]

    def attach(self, setting: Setting, stack: ExitStack) -> None:
        outer = self._outer(setting)
        stack.callback(outer.unlink, missing_ok=True)
        wait_until(outer.exists, "the socket of gvproxy")
        relay = setting.guest.start([str(setting.nettool), "bridge", TAP, str(outer)])
        stack.callback(stop, relay)
        run = setting.guest.run
        wait_until(lambda: setting.guest.has_interface(TAP), f"{TAP} of {self.name}")
        run("ip", "address", "add", self.address, "dev", TAP)
        run("ip", "link", "set", TAP, "mtu", str(setting.mtu), "up")
        run("ip", "route", "add", "default", "via", self.gateway)

    def host(self) -> str:
        return self.loopback

    def _inner(self, setting: Setting) -> str:
        """The socket as gvproxy sees it; in its root there is no folder of ours."""
        return f"/tmp/{setting.folder.name}.sock"

    def _outer(self, setting: Setting) -> Path:
        return Path(f"{self.find(setting.root) or ''}{self._inner(setting)}")


class Veth(Peer):
    """No back end but the kernel's own pair of interfaces: the limit. Its servers live beside the guest."""

    name = "veth"
    program = "ip"
    near, far = "10.9.9.1", "10.9.9.2"

    @contextmanager
    def connect(self, setting: Setting) -> Iterator[Running]:
        guest, mtu = setting.guest, str(setting.mtu)
        with Namespace(outer=guest) as side:
            pair = ["type", "veth", "peer", "name", "veth0", "mtu", mtu, "netns", str(side.pid)]
            guest.run("ip", "link", "add", TAP, "mtu", mtu, *pair)
            for namespace, name, address in ((guest, TAP, self.near), (side, "veth0", self.far)):
                namespace.run("ip", "address", "add", f"{address}/24", "dev", name)
                namespace.run("ip", "link", "set", name, "up")
            yield Running(host=self.far, side=side, bind=self.far)


def into(root: Path | None) -> list[str]:
    """Words before a command that is to run with this directory as its root; none for the host's own."""
    return ["unshare", "--mount", "bash", "-c", INTO_ROOT, "bash", str(root)] if root else []


PEERS: tuple[Peer, ...] = (Wirebay(), Slirp4netns(), Pasta(), Gvproxy(), Veth())


def by_name(name: str) -> Peer:
    """The peer called so; raises ValueError."""
    for peer in PEERS:
        if peer.name == name:
            return peer
    raise ValueError(name)


def folder() -> tempfile.TemporaryDirectory[str]:
    """A folder of one measurement, which any user may enter."""
    made = tempfile.TemporaryDirectory(prefix="wirebay-bench-")
    Path(made.name).chmod(0o755)
    return made
