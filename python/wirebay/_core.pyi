"""The Rust half of Wirebay: the packet worker and the few system calls Python 3.11 lacks."""

from typing import Final

__all__ = [
    "PROTOCOL_VERSION",
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
