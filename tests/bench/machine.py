"""The benchmark's other guest: a real kernel in QEMU, under software emulation, behind a virtio-net card.

Each way to connect it is a peer; the guest boots, asks for its lease, and runs nettool against this host. The
guest's own processor is the limit, so what a back end can do for it is to hand it larger pieces.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench.guest import AS_USER, privileged
from tests.bench.measure import GRACE_SECONDS, Plan, Result, first_line
from tests.bench.peers import GUEST, HOST, LOOPBACK, NotInstalled, into
from tests.bench.processes import stop, wait_until
from tests.guests import cpio
from tests.guests.console import Console, GuestError
from tests.guests.guest import QEMU, qemu_words
from tests.guests.image import Image, ensure
from tests.guests.packages import ImageError

MEMORY = 256  # MiB
BOOT_SECONDS = 60.0
SAFE = (10, 0)  # before that, MSI-X behind vhost-user ends QEMU (docs/cmd-qemu.md)
SCRIPT = """
nettool up {host} {port} {seconds} > /tmp/up && echo "@up $(cat /tmp/up)"
nettool down {host} {port} {seconds} > /tmp/down && echo "@down $(cat /tmp/down)"
nettool rr {host} {echo} {seconds} > /tmp/rr && echo "@rr $(cat /tmp/rr)"
"""


@dataclass(frozen=True, kw_only=True)
class Place:
    """A folder that QEMU, here or in `root`, and its back end both see; QEMU's program is `version` old."""

    outer: Path
    inner: str
    root: Path | None
    version: tuple[int, ...]
    mtu: int

    @property
    def socket(self) -> Path:
        """The socket between QEMU and the back end, as this host sees it."""
        return self.outer / "back-end.sock"

    def stream(self) -> list[str]:
        """QEMU's words for a stream socket."""
        path = f"{self.inner}/back-end.sock"
        return ["-netdev", f"stream,id=n0,server=off,addr.type=unix,addr.path={path}", *self.card()]

    def vhost_user(self) -> list[str]:
        """QEMU's words for vhost-user."""
        memory = ["-object", f"memory-backend-memfd,id=m,size={MEMORY}M,share=on"]
        memory += ["-machine", "memory-backend=m", "-chardev", f"socket,id=c,path={self.inner}/back-end.sock"]
        return [*memory, "-netdev", "vhost-user,id=n0,chardev=c", *self.card(",vectors=0")]

    def card(self, for_old: str = "") -> list[str]:
        """The card on network n0, with what an old QEMU needs."""
        return ["-device", f"virtio-net-pci,netdev=n0{'' if self.version >= SAFE else for_old}"]


class MachinePeer(ABC):
    """A way to connect a virtual machine."""

    name: str

    def find(self, root: Path | None) -> None:  # noqa: B027 - most need nothing but QEMU
        """Raise NotInstalled for a back end that is not there."""

    @abstractmethod
    def words(self, place: Place) -> list[str]:
        """QEMU's words for its network."""

    def command(self, place: Place) -> Sequence[str]:
        """The back end, if it is a program of its own; it makes the place's socket."""
        return ()


class Wirebay(MachinePeer):
    name = "wirebay"
    port = "vhost-user,id=vm0,path={}"

    def words(self, place: Place) -> list[str]:
        return place.vhost_user()

    def command(self, place: Place) -> Sequence[str]:
        program = str(Path(sys.executable).with_name("wirebay"))
        user = f"user,id=u0,mtu={place.mtu}"
        return [program, "serve", "-netdev", user, "-netdev", self.port.format(place.socket)]


class WirebayStream(Wirebay):
    name = "wirebay-stream"
    port = "stream,id=vm0,server=on,addr.type=unix,addr.path={}"

    def words(self, place: Place) -> list[str]:
        return place.stream()


class Libslirp(MachinePeer):
    name = "libslirp"

    def words(self, place: Place) -> list[str]:
        return ["-netdev", "user,id=n0", *place.card()]


class PasstStream(MachinePeer):
    name = "passt-stream"
    extra: Sequence[str] = ()

    def find(self, root: Path | None) -> None:
        self._root(root)

    @staticmethod
    def _root(root: Path | None) -> Path | None:
        if root and (root / "usr/bin/passt").exists():
            return root
        if shutil.which("passt") and not root:
            return None
        raise NotInstalled("passt is not installed")

    def words(self, place: Place) -> list[str]:
        return place.stream()

    def command(self, place: Place) -> Sequence[str]:
        user = AS_USER if privileged() else ()
        address = ["-a", GUEST, "-n", "24", "-g", HOST, "--map-host-loopback", HOST, "-m", str(place.mtu)]
        words = ["-f", "-q", "-4", *address, "-t", "none", "-u", "none", *self.extra]
        return [*into(self._root(place.root)), *user, "passt", *words, "-s", f"{place.inner}/back-end.sock"]


class PasstVhostUser(PasstStream):
    name = "passt"
    extra = ("--vhost-user",)

    def words(self, place: Place) -> list[str]:
        return place.vhost_user()


MACHINE_PEERS: tuple[MachinePeer, ...] = (
    Wirebay(),
    WirebayStream(),
    Libslirp(),
    PasstVhostUser(),
    PasstStream(),
)


def check_qemu(root: Path | None) -> None:
    """Raise NotInstalled, with a sentence, where no guest can be booted."""
    if qemu_version(root) is None:
        raise NotInstalled(f"{QEMU} is not installed")
    try:
        ensure()
    except ImageError as error:
        raise NotInstalled(str(error)) from None


def qemu_version(root: Path | None) -> tuple[int, ...] | None:
    """The version of the QEMU to use: the one in the root, if there is a root."""
    try:
        run = subprocess.run([*into(root), QEMU, "--version"], capture_output=True, text=True, check=False)
    except OSError:
        return None
    match = re.search(r"version (\d+)\.(\d+)", run.stdout)
    return (int(match[1]), int(match[2])) if match else None


def measure_machine(peer: MachinePeer, plan: Plan) -> Result:
    """Boot a guest connected by `peer` and take every metric; what fails is a fault of the result."""
    result = Result()
    try:
        with _place(plan) as place, _back_end(peer, place), _servers(plan) as (bulk, echo):
            numbers = {"host": HOST, "port": bulk, "echo": echo, "seconds": plan.seconds}
            command = [*into(place.root), *_qemu(place, plan, SCRIPT.format(**numbers)), *peer.words(place)]
            with Console(command) as guest:
                guest.line("@begin", BOOT_SECONDS)
                result.values["vm_out"] = _told(guest, "@up", plan)["gbit"]
                result.values["vm_in"] = _told(guest, "@down", plan)["gbit"]
                result.values["vm_rr"] = _told(guest, "@rr", plan)["per_second"]
    except (OSError, GuestError, ValueError) as error:
        result.faults["guest"] = str(error)
    return result


def _told(guest: Console, word: str, plan: Plan) -> dict[str, float]:
    values: dict[str, float] = json.loads(guest.line(word, plan.seconds + GRACE_SECONDS).partition(" ")[2])
    return values


@contextmanager
def _place(plan: Plan) -> Iterator[Place]:
    root = plan.root if plan.root and (plan.root / "usr/bin" / QEMU).exists() else None
    version = qemu_version(root)
    assert version is not None
    with tempfile.TemporaryDirectory(prefix="wirebay-bench-", dir=(root or Path("/")) / "tmp") as name:
        Path(name).chmod(0o777)
        yield Place(
            outer=Path(name), inner=f"/tmp/{Path(name).name}", root=root, version=version, mtu=plan.mtu
        )


def _qemu(place: Place, plan: Plan, script: str) -> list[str]:
    """QEMU's words for the test kernel with nettool beside its own programs."""
    image = ensure()
    nettool = cpio.compressed([cpio.file("bin/nettool", plan.nettool.read_bytes(), executable=True)])
    shutil.copyfile(image.kernel, place.outer / "vmlinuz")
    # The kernel unpacks one archive after the other.
    (place.outer / "initramfs").write_bytes(image.initramfs.read_bytes() + nettool)
    inside = Image(
        kernel=Path(place.inner, "vmlinuz"), initramfs=Path(place.inner, "initramfs"), package=image.package
    )
    return qemu_words(inside, script, memory=MEMORY)


@contextmanager
def _back_end(peer: MachinePeer, place: Place) -> Iterator[None]:
    command = peer.command(place)
    if not command:
        yield
        return
    with (place.outer / "back-end.log").open("w") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, text=True)
        try:
            wait_until(place.socket.exists, f"the socket of {peer.name}")
            yield
        finally:
            stop(process)


@contextmanager
def _servers(plan: Plan) -> Iterator[tuple[int, int]]:
    """The servers of bulk data and of echoes, on this host's loopback; yields their ports."""
    with ExitStack() as stack:
        ports = []
        for mode in ("bulk", "serve"):
            command = [str(plan.nettool), mode, LOOPBACK]
            server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            stack.callback(stop, server)
            ports.append(int(json.loads(first_line(server, GRACE_SECONDS))["port"]))
        yield ports[0], ports[1]
