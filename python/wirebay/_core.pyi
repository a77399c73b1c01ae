"""The Rust half of Wirebay: the packet worker and the few system calls Python 3.11 lacks."""

from collections.abc import Sequence
from typing import Any, Final, final

__all__ = [
    "PROTOCOL_VERSION",
    "CardServer",
    "__version__",
    "bind_mount",
    "detach_mount",
    "make_mounts_private",
    "mount_tmpfs",
    "run_worker",
    "set_parent_death_signal",
    "setns",
    "unshare",
]

__version__: Final[str]
PROTOCOL_VERSION: Final[int]

def run_worker(fd: int, confine: bool = True) -> None:
    """Run the packet worker over the control socket `fd` until it is told to stop or its peer goes away.

    With `confine` (the child process) the process first gives up its privileges, session and all other
    descriptors; without (tests) the loop runs as it is, in this thread, with the interpreter released.
    """

def unshare(flags: int) -> None:
    """unshare(2). Raises OSError."""

def setns(fd: int, nstype: int) -> None:
    """setns(2). Raises OSError."""

def bind_mount(source: str, target: str) -> None:
    """mount(2) with MS_BIND. Raises OSError."""

def mount_tmpfs(target: str) -> None:
    """mount(2) of an empty tmpfs (nosuid, nodev, noexec) over a directory. Raises OSError."""

def detach_mount(target: str) -> None:
    """umount2(2) with MNT_DETACH: what is mounted from it elsewhere lives on. Raises OSError."""

def make_mounts_private() -> None:
    """Make every mount of this namespace private, recursively: nothing leaks to the host. Raises OSError."""

def set_parent_death_signal(sig: int) -> None:
    """prctl(PR_SET_PDEATHSIG): the kernel sends `sig` here when the parent dies. Raises OSError."""

@final
class CardServer:
    """A card on the server's side of vfio-user; its registers are a model (`wirebay.cards.card.Card`).

    `frames` is a connected stream socket, taken over, that carries frames as a stream port does. `config`
    and `writable` are the PCI configuration space and its bits that can be written, 256 bytes each; `bars`
    the six sizes in bytes; `rom` the option ROM, its length a power of two; `vectors` how many MSI-X vectors
    there are. A frame that the card cannot take waits for `patience` microseconds before the card is told.
    """

    def __new__(
        cls,
        frames: int,
        *,
        config: Sequence[int],
        writable: Sequence[int],
        bars: Sequence[int],
        rom: bytes,
        vectors: int = 0,
        patience: int = 20_000,
    ) -> CardServer: ...
    def insert(self, model: Any) -> None:
        """Put the model in, once."""

    def wait_for_client(self, listener: int) -> bool:
        """Wait until the listening socket, taken over, has a client; False: `stop()` was called.

        What the network sends meanwhile is dropped. Raises RuntimeError when the packet worker is gone.
        """

    def serve(self, socket: int) -> str:
        """Serve one client on a connected socket, taken over, until it ends; returns why, one sentence.

        Whatever the model raises comes out here.
        """

    def stop(self) -> None:
        """End whatever runs; for any thread."""

    def read(self, address: int, size: int) -> bytes:
        """Read the guest's memory. Raises OSError where there is none, or the card may not.

        Only for the model, within `run()` and `receive()`.
        """

    def write(self, address: int, data: bytes) -> None:
        """Write the guest's memory, a number at its natural place in one piece. Raises OSError, as `read`."""
