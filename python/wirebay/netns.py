"""Network namespaces: a new one for a command, and reaching into one that exists.

A new guest (`spawn`)
=====================

    parent                                  child
    fork                                    unshare user, network and mount namespace
    write the id maps (caller is root)      write the id maps (caller is not root)
                                            resolv.conf, loopback, TAP, address, route
    take the TAP, give it to the worker     report, with the TAP beside it; wait
    "go"                                    exec COMMAND

Between the report and "go" the parent builds the network, so COMMAND starts with a network that works. The
child makes its system calls from Python: exec comes at the end, and up to then it is a copy of the parent.

Without privileges only one user can be mapped, and it becomes root inside (user_namespaces(7)). A caller
that is root maps everybody it has, so that tools that change users (apt, sshd) work.

An existing namespace (`open_tap_in`)
=====================================

A child enters the user namespace that owns the network namespace, because that is where the right to
configure it comes from, then the network namespace itself, makes the TAP there and hands it over.
"""

from __future__ import annotations

import errno
import fcntl
import os
import signal
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from wirebay import _core
from wirebay.errors import HostError
from wirebay.forked import Channel, Child, Report, die_with, run_in_child
from wirebay.ifconfig import GuestConfig, configure_guest
from wirebay.tun import Tap, open_tap
from wirebay.userns import CLONE_NEWNET, CLONE_NEWUSER, become_root, map_everybody, unshare_all

__all__ = ["NamespaceGuest", "netns_of", "open_tap_in", "spawn"]

NS_GET_USERNS = 0xB701  # linux/nsfs.h

RESOLV_CONF = "/etc/resolv.conf"
# A directory that every system has (FHS 3.0) and that nothing needs while the namespace is set up.
COVERED = "/mnt"
NOT_EXECUTABLE, NOT_FOUND = 126, 127  # exit statuses, as shells give them


class NamespaceGuest:
    """A child in a namespace of its own, which becomes COMMAND when it is told to.

    Take `tap()` first, then `go()`; `close()` at the end, whatever happened, kills a child that still runs.
    """

    def __init__(self, child: Child) -> None:
        self._child = child
        self.pid = child.pid

    def tap(self) -> Tap:
        """Wait until the namespace is set up; returns its TAP, which the caller closes.

        Raises OptionError or HostError with the sentence of what failed there.
        """
        return _receive_tap(self._child.receive())

    def go(self) -> None:
        """Let COMMAND start. If it cannot, the child says so on stderr and ends with status 126 or 127."""
        self._child.tell({"go": True})

    def close(self) -> None:
        """End what is left of the child."""
        self._child.close()


def spawn(command: Sequence[str], guest: GuestConfig) -> NamespaceGuest:
    """Fork a child that sets up a namespace as `guest` says and then waits to become `command`.

    Call it before there is an event loop or a thread. Raises HostError when namespaces cannot be had.
    """
    whole_range = os.geteuid() == 0
    child = Child.fork(lambda channel: _guest_main(channel, command, guest, whole_range))
    try:
        if whole_range:
            child.receive()
            map_everybody(child.pid)
            child.tell({"mapped": True})
    except OSError as error:
        child.close()
        raise HostError(f"users could not be mapped into the namespace: {error.strerror}") from error
    except BaseException:
        child.close()
        raise
    return NamespaceGuest(child)


def open_tap_in(
    netns: str, name: str | None = None, *, vnet_hdr: bool | None = None, guest: GuestConfig | None = None
) -> Tap:
    """Open a TAP in the network namespace at the path `netns`, as `tun.open_tap` does here.

    With `guest` its interface is configured as well. Raises HostError when the namespace is gone or may not
    be entered, and what `open_tap` raises.
    """

    def work() -> tuple[Report, list[int]]:
        enter(netns)
        tap = open_tap(guest.ifname if guest else name, vnet_hdr=vnet_hdr)
        if guest:
            configure_guest(guest)
        return asdict(tap), [tap.fd]

    return _receive_tap(run_in_child(work))


def netns_of(pid: int) -> str:
    """Path of the network namespace of a process."""
    return f"/proc/{pid}/ns/net"


def enter(netns: str) -> None:
    """Move this process into the network namespace at the path `netns`. Raises HostError."""
    fd = _open_namespace(netns)
    try:
        owner = fcntl.ioctl(fd, NS_GET_USERNS)
        if not os.path.samestat(os.fstat(owner), Path("/proc/self/ns/user").stat()):
            _core.setns(owner, CLONE_NEWUSER)
        _core.setns(fd, CLONE_NEWNET)
    except OSError as error:
        if error.errno == errno.ENOTTY:
            raise HostError(f"{netns} is no network namespace") from error
        if error.errno == errno.EINVAL:
            raise HostError(f"{netns} is no network namespace that can be entered") from error
        raise HostError(
            f"the network namespace {netns} may not be entered: {os.strerror(error.errno or 0)}; "
            "run wirebay as the user who made it, or as root"
        ) from error
    finally:
        os.close(fd)


def resolv_conf(guest: GuestConfig) -> str:
    """The text of the guest's resolv.conf."""
    search = f"search {' '.join(guest.search)}\n" if guest.search else ""
    return f"nameserver {guest.dns}\n{search}"


def mount_resolv_conf(guest: GuestConfig, path: str = RESOLV_CONF, place: str = COVERED) -> None:
    """Put the guest's file over resolv.conf, in this mount namespace only; warns where that fails.

    The file lives in a tmpfs over `place` that is detached at once; the bind mount keeps it. So no way out,
    however sudden, leaves a file on the host.
    """
    target = Path(path).resolve()
    try:
        _core.mount_tmpfs(place)
        try:
            source = Path(place, "resolv.conf")
            source.write_text(resolv_conf(guest))
            source.chmod(0o644)  # programs inside may run as other users
            _core.bind_mount(str(source), str(target))
        finally:
            _core.detach_mount(place)
    except OSError as error:
        warning = f"{path} cannot be replaced inside: {error.strerror}; name {guest.dns} there"
        os.write(2, f"wirebay: warning: {warning}\n".encode())


def _guest_main(channel: Channel, command: Sequence[str], guest: GuestConfig, whole_range: bool) -> int:
    """The child: from the fork to COMMAND. Returns its exit status where COMMAND cannot run."""
    parent, uid, gid = os.getppid(), os.geteuid(), os.getegid()
    unshare_all()
    if whole_range:
        channel.report({"unshared": True})
        if channel.wait() is None:
            return 1
    else:
        become_root(uid, gid)
    _core.make_mounts_private()
    mount_resolv_conf(guest)
    tap = open_tap(guest.ifname)
    configure_guest(guest)
    channel.report(asdict(tap), [tap.fd])
    os.close(tap.fd)
    if channel.wait() is None:
        return 1
    die_with(parent)  # again: changing credentials has made the kernel forget it
    return _execute(command)


def _execute(command: Sequence[str]) -> int:
    """Become COMMAND. Returns, with the status that shells give, only when that is not possible."""
    for number in signal.SIGPIPE, signal.SIGXFSZ:  # Python ignores them, and exec would pass that on
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execvp(command[0], list(command))  # noqa: S606 - a shell is COMMAND's own choice
    except (FileNotFoundError, NotADirectoryError) as error:
        status, reason = NOT_FOUND, error.strerror if os.sep in command[0] else "command not found"
    except OSError as error:
        status, reason = NOT_EXECUTABLE, error.strerror
    os.write(2, f"wirebay: {command[0]}: {reason}\n".encode())
    return status


def _receive_tap(received: tuple[Report, list[int]]) -> Tap:
    report, fds = received
    if not fds:  # the kernel drops descriptors that the receiver has no room for
        raise HostError("no descriptor is left for the TAP: raise the limit (ulimit -n)")
    return Tap(fds[0], report["name"], report["offloads"])


def _open_namespace(netns: str) -> int:
    try:
        return os.open(netns, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, ProcessLookupError) as error:
        raise HostError(f"the network namespace {netns} is gone") from error
    except OSError as error:
        raise HostError(f"the network namespace {netns} may not be opened: {error.strerror}") from error
