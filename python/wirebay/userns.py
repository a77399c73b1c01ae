"""User namespaces: making one with a network and a mount namespace, and who is who in it.

An ordinary user may map itself alone, to root; root maps everybody it has (user_namespaces(7)).
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

from wirebay import _core
from wirebay.errors import HostError

__all__ = ["CLONE_NEWNET", "CLONE_NEWUSER", "become_root", "map_everybody", "map_one", "unshare_all"]

# linux/sched.h
CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWNET = 0x00020000, 0x10000000, 0x40000000
CLONE_FLAGS = CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWNS

# What forbids namespaces to users without privileges, where the kernel has the setting: the value that does.
_FORBIDDING = {
    "kernel/unprivileged_userns_clone": "0",  # Debian
    "kernel/apparmor_restrict_unprivileged_userns": "1",  # Ubuntu
}
_REMEDIES = {
    errno.EPERM: "a security module, a chroot or the container's seccomp profile forbids them: allow "
    "unshare(2) and mount(2) there",
    errno.ENOSPC: "allow more with 'sysctl -w user.max_user_namespaces=65536' and user.max_net_namespaces",
    errno.EUSERS: "they are nested too deep, or user.max_user_namespaces is reached",
    errno.EINVAL: "the kernel was built without CONFIG_USER_NS or CONFIG_NET_NS",
}
_REMEDIES[errno.EACCES] = _REMEDIES[errno.EPERM]
SYSCTLS = "/proc/sys"


def unshare_all() -> None:
    """Move this process into namespaces of its own: user, network, mount. Raises HostError with the
    remedy."""
    try:
        _core.unshare(CLONE_FLAGS)
    except OSError as error:
        raise _unavailable(error) from error


def _unavailable(error: OSError) -> HostError:
    """The sentence, with the remedy, for namespaces that cannot be had."""
    number = error.errno or 0
    remedy = _REMEDIES.get(number, os.strerror(number))
    if number in (errno.EPERM, errno.EACCES):
        forbidding = [setting for setting, value in _FORBIDDING.items() if _read_sysctl(setting) == value]
        commands = (
            f"'sysctl -w {name.replace('/', '.')}={1 - int(_FORBIDDING[name])}'" for name in forbidding
        )
        remedy = f"allow them with {' and '.join(commands)}" if forbidding else remedy
    return HostError(f"user namespaces are not available: {remedy}")


def _read_sysctl(name: str) -> str | None:
    try:
        return Path(SYSCTLS, name).read_text().strip()
    except OSError:  # another kernel
        return None


def become_root(uid: int, gid: int) -> None:
    """Map the user and group, who have just made this namespace, to root. Raises HostError with the remedy.

    AppArmor lets everybody make a user namespace on some systems, and forbids what one needs it for.
    """
    try:
        map_one(uid, gid)
    except OSError as error:
        raise _unavailable(error) from error


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


def _write(path: str, text: str) -> None:
    Path(path).write_bytes(text.encode())  # in one system call: the kernel takes a map only as a whole
