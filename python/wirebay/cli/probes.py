"""The facts for `wirebay doctor`, found by trying. Each probe leaves the host as it was."""

from __future__ import annotations

import os
import platform
import resource
import shutil
import socket
import subprocess
from pathlib import Path

from wirebay import tun
from wirebay.errors import HostError
from wirebay.forked import Report, run_in_child
from wirebay.reach import has_way
from wirebay.services.resolver import Address, read_resolvers
from wirebay.services.smb import find_smbd
from wirebay.userns import become_root, unshare_all
from wirebay.worker_host import MAX_DESCRIPTORS

SO_PEEK_OFF = 42  # asm-generic/socket.h
CAP_NET_BIND_SERVICE, CAP_SYS_RESOURCE = 10, 24
QEMU_TIMEOUT = 10.0  # seconds


def try_namespace() -> tuple[str | None, str | None, list[str] | None]:
    """Make namespaces and a TAP, in a child: the sentence of each that failed, and the kernel's offloads."""
    report, _ = run_in_child(_inside)
    return report["namespaces"], report["tun"], report["offloads"]


def _inside() -> tuple[Report, list[int]]:
    report: Report = {"namespaces": None, "tun": None, "offloads": None}
    uid, gid = os.geteuid(), os.getegid()
    try:
        unshare_all()
        become_root(uid, gid)
    except HostError as error:
        report["namespaces"] = str(error)
    try:
        os.close(tun.open_device())
        if report["namespaces"] is None:
            report["offloads"] = tun.open_tap().offloads
    except HostError as error:
        report["tun"] = str(error)
    return report, []


def ping_group_range() -> str:
    """The groups that may open ping sockets, as the kernel writes them."""
    return _sysctl("net/ipv4/ping_group_range", "1 0")


def groups() -> set[int]:
    """The groups of this process."""
    return {os.getegid(), *os.getgroups()}


def qemu_version() -> str | None:
    """What QEMU says when asked for its version; the host's own kind of QEMU before others."""
    program = shutil.which(f"qemu-system-{platform.machine()}") or _any_qemu()
    if program is None:
        return None
    try:
        asked = subprocess.run(
            [program, "--version"], capture_output=True, text=True, timeout=QEMU_TIMEOUT, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return asked.stdout


def resolvers() -> list[Address]:
    """The host's name servers."""
    return read_resolvers()


def ways() -> tuple[bool, bool]:
    """Whether this host has a way out over IPv4, and over IPv6."""
    return has_way(4), has_way(6)


def smbd() -> str | None:
    """The path of Samba's server."""
    try:
        return find_smbd()
    except HostError:
        return None


def descriptor_limit() -> int | None:
    """How many files the worker may have open at most, None for any number."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard == resource.RLIM_INFINITY:
        return None
    return max(hard, MAX_DESCRIPTORS) if _has_capability(CAP_SYS_RESOURCE) else hard


def has_peek_offset() -> bool:
    """Does the kernel take SO_PEEK_OFF on a TCP socket?"""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        try:
            probe.setsockopt(socket.SOL_SOCKET, SO_PEEK_OFF, 0)
        except OSError:
            return False
    return True


def unprivileged_port_start() -> int:
    """The first port that may be bound without privileges."""
    return int(_sysctl("net/ipv4/ip_unprivileged_port_start", "1024"))


def may_bind_any_port() -> bool:
    """May this process listen on every port, whatever the kernel keeps for privileged ones?"""
    return _has_capability(CAP_NET_BIND_SERVICE)


def _has_capability(number: int) -> bool:
    status = Path("/proc/self/status").read_text()
    effective = next(line for line in status.splitlines() if line.startswith("CapEff:"))
    return bool(int(effective.split()[1], 16) >> number & 1)


def _any_qemu() -> str | None:
    folders = [Path(folder) for folder in os.get_exec_path()]
    names = sorted({program.name for folder in folders for program in folder.glob("qemu-system-*")})
    return next(filter(None, map(shutil.which, names)), None)


def _sysctl(name: str, default: str) -> str:
    try:
        return Path("/proc/sys", name).read_text()
    except OSError:  # another kernel, or a masked /proc
        return default
