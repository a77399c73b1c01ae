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
from ipaddress import IPv4Address
from pathlib import Path

from wirebay import _core
from wirebay.errors import HostError
from wirebay.forked import Channel, Child, Report, die_with, run_in_child
from wirebay.ifconfig import GuestConfig, configure_guest
from wirebay.tun import Tap, open_tap

__all__ = ["NamespaceGuest", "netns_of", "open_tap_in", "spawn", "unshare_all"]

# linux/sched.h, linux/nsfs.h
CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWNET = 0x00020000, 0x10000000, 0x40000000
CLONE_FLAGS = CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWNS
NS_GET_USERNS = 0xB701

RESOLV_CONF = "/etc/resolv.conf"
# A directory that every system has (FHS 3.0) and that nothing needs while the namespace is set up.
COVERED = "/mnt"
NOT_EXECUTABLE, NOT_FOUND = 126, 127  # exit statuses, as shells give them

_REMEDIES = {
    errno.EPERM: "allow them with 'sysctl -w kernel.unprivileged_userns_clone=1' (Debian), "
    "'sysctl -w kernel.apparmor_restrict_unprivileged_userns=0' (Ubuntu), or the container's seccomp profile",
    errno.ENOSPC: "allow more with 'sysctl -w user.max_user_namespaces=65536' and user.max_net_namespaces",
    errno.EUSERS: "they are nested too deep, or user.max_user_namespaces is reached",
    errno.EINVAL: "the kernel was built without CONFIG_USER_NS or CONFIG_NET_NS",
}
_REMEDIES[errno.EACCES] = _REMEDIES[errno.EPERM]


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


def unshare_all() -> None:
    """Move this process into namespaces of its own: user, network, mount. Raises HostError with the
    remedy."""
    try:
        _core.unshare(CLONE_FLAGS)
    except OSError as error:
        remedy = _REMEDIES.get(error.errno or 0, os.strerror(error.errno or 0))
        raise HostError(f"user namespaces are not available: {remedy}") from error


def map_everybody(pid: int) -> None:
    """Map all users and groups of this user namespace to themselves in that of process `pid`.

    Where this process may not do that, root alone is mapped. Raises OSError.
    """
    for kind in "uid", "gid":
        ranges = [line.split() for line in Path(f"/proc/self/{kind}_map").read_text().splitlines()]
        identity = "".join(f"{inside} {inside} {count}\n" for inside, _, count in ranges)
        try:
            _write(f"/proc/{pid}/{kind}_map", identity)
        except PermissionError:
            map_one(0, 0, str(pid))
            return


def map_one(uid: int, gid: int, pid: str = "self") -> None:
    """Make the user and group root in the user namespace of `pid`, and nobody else. Raises OSError."""
    # user_namespaces(7): without this, an unprivileged process may not write the map of groups.
    _write(f"/proc/{pid}/setgroups", "deny")
    _write(f"/proc/{pid}/uid_map", f"0 {uid} 1\n")
    _write(f"/proc/{pid}/gid_map", f"0 {gid} 1\n")


def mount_resolv_conf(dns: IPv4Address, path: str = RESOLV_CONF, place: str = COVERED) -> None:
    """Put a file that names `dns` over resolv.conf, in this mount namespace only; warns where that fails.

    The file lives in a tmpfs over `place` that is detached at once; the bind mount keeps it. So no way out,
    however sudden, leaves a file on the host.
    """
    target = Path(path).resolve()
    try:
        _core.mount_tmpfs(place)
        try:
            source = Path(place, "resolv.conf")
            source.write_text(f"nameserver {dns}\n")
            source.chmod(0o644)  # programs inside may run as other users
            _core.bind_mount(str(source), str(target))
        finally:
            _core.detach_mount(place)
    except OSError as error:
        warning = f"wirebay: warning: {path} cannot be replaced inside: {error.strerror}; name {dns} there\n"
        os.write(2, warning.encode())


def _guest_main(channel: Channel, command: Sequence[str], guest: GuestConfig, whole_range: bool) -> int:
    """The child: from the fork to COMMAND. Returns its exit status where COMMAND cannot run."""
    parent, uid, gid = os.getppid(), os.geteuid(), os.getegid()
    unshare_all()
    if whole_range:
        channel.report({"unshared": True})
        if channel.wait() is None:
            return 1
    else:
        map_one(uid, gid)
    _core.make_mounts_private()
    mount_resolv_conf(guest.dns)
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


def _write(path: str, text: str) -> None:
    Path(path).write_bytes(text.encode())  # in one system call: the kernel takes a map only as a whole
