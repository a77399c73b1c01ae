"""How `wirebay qemu` reaches QEMU: as was asked for, as the command line allows, and as QEMU survives."""

from __future__ import annotations

import logging
import os
import re
import subprocess
from collections.abc import Sequence

from wirebay.options.qemu_command import STREAM, rewrite
from wirebay.options.qemu_vhost import Kind, Transport

log = logging.getLogger(__name__)

# QEMU 7.2 without KVM ends by SIGSEGV when a guest uses MSI-X on a card behind vhost-user; 10.0 and 11.1 do
# not. Older ones get a stream socket, or cards without MSI-X where vhost-user is demanded: a guest that boots
# from a card with INTx would find another card than the one asked for.
SAFE = (10, 0)
PATIENCE = 10.0


def choose(command: Sequence[str], kind: Kind) -> Transport:
    """The transport for QEMU's command line. Raises OptionError where a demand cannot be met.

    QEMU is asked for its version only if a network could go over vhost-user.
    """
    plan = rewrite(command, "", Transport(kind))
    for reason in plan.reasons:
        log.info("not over vhost-user: %s", reason)
    if not any(served.vhost_user for served in plan.networks):
        return STREAM
    version = qemu_version(command[0])
    is_safe = version is not None and version >= SAFE
    if kind == "vhost-user":
        return Transport(kind, without_vectors=version is not None and not is_safe)
    if is_safe and has_memfd():
        return Transport(kind)
    log.info("not over vhost-user: QEMU %s, and memory to share: %s", version, has_memfd())
    return STREAM


def qemu_version(program: str) -> tuple[int, int] | None:
    """Major and minor version of a QEMU, None for a program that does not say."""
    try:
        run = subprocess.run(
            [program, "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PATIENCE,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.search(rb"QEMU emulator version (\d+)\.(\d+)", run.stdout)
    return (int(match[1]), int(match[2])) if match else None


def has_memfd() -> bool:
    """Whether this host gives out memory that has a descriptor."""
    try:
        os.close(os.memfd_create("wirebay"))
    except OSError:
        return False
    return True
