"""The memory of QEMU's machine, as far as vhost-user needs it: a file that QEMU can share with the worker.

QEMU's own default cannot be shared. Where nothing else is said about the memory, the machine gets the same
amount as a memfd; where something is, that stays, and does only if it is shared already.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from wirebay.errors import OptionError
from wirebay.options.grammar import IMPLIED_KEY, Pairs, last, parse_json, parse_pairs
from wirebay.options.qemu_words import QemuOption

MACHINE_OPTIONS = ("machine", "M")
MIB = 1 << 20
# Bytes, where the command line has no -m, on all machines of MACHINES.
DEFAULT_SIZE = 128 * MIB
PAGE = 8192  # QEMU rounds -m up to this

# Little-endian guests, whose rings the worker reads; and the machines that take a memory-backend.
PROGRAMS = re.compile(r"qemu-system-(x86_64|i386|aarch64|arm|riscv64)|qemu-kvm|kvm")
MACHINES = re.compile(r"(pc|q35|virt)(-[\w.-]+)?|microvm")
# What makes the memory, or expects to find it as it was in another QEMU.
IN_THE_WAY = ("mem-path", "mem-prealloc", "numa", "readconfig", "incoming", "loadvm", "only-migratable")
SHARED_UNLESS_TOLD = ("memory-backend-memfd", "memory-backend-shm")
YES = (True, "on", "yes", "true", "y")
UNITS = {"": MIB, "b": 1, "k": 1 << 10, "m": MIB, "g": 1 << 30, "t": 1 << 40}


class NotShared(Exception):
    """The memory is not shared and cannot be made so; the text says why, to follow the option's name."""


def memory_words(argv: Sequence[str], options: Sequence[QemuOption], ident: str) -> list[str]:
    """The words that share the machine's memory, under the id `ident`; none if it is shared already.

    Raises NotShared.
    """
    machine = [pair for option in options if option.name in MACHINE_OPTIONS for pair in _pairs(option)]
    _check_machine(argv[0], machine)
    for option in options:
        if option.name in IN_THE_WAY:
            raise NotShared(f"-{option.name} is in the way")
    backends = _backends(options)
    given = last(machine, "memory-backend")
    if any(not shared for shared in backends.values()) or (given is not None and given not in backends):
        raise NotShared("its memory backend is not shared")
    if given is not None:
        return []
    size = _size(options)
    text = f"{size // MIB}M" if size % MIB == 0 else str(size)
    backend = f"memory-backend-memfd,id={ident},size={text},share=on"
    return ["-object", backend, "-machine", f"memory-backend={ident}"]


def properties(option: QemuOption) -> Mapping[str, object]:
    """What an option says, by name, in either spelling; the word before the first comma is `type`."""
    value = option.value or ""
    if not value.startswith("{"):
        return dict(parse_pairs(value, warn=False))
    try:
        return parse_json(value)
    except OptionError:
        return {}


def _pairs(option: QemuOption) -> Pairs:
    return parse_pairs(option.value or "", warn=False)


def _check_machine(program: str, machine: Pairs) -> None:
    if not PROGRAMS.fullmatch(Path(program).name):
        raise NotShared(f"'{Path(program).name}' is no QEMU whose memory is known")
    kind = last(machine, IMPLIED_KEY)
    if kind is not None and not MACHINES.fullmatch(kind):
        raise NotShared(f"the memory of machine '{kind}' is not known")
    for name, _ in machine:
        if name == "confidential-guest-support" or (name.startswith("memory") and name != "memory-backend"):
            raise NotShared(f"'{name}' of the machine is in the way")


def _backends(options: Sequence[QemuOption]) -> dict[str, bool]:
    """The memory backends of the command line, and whether each is shared."""
    found = [properties(option) for option in options if option.name == "object"]
    kinds = [(str(given.get("qom-type", given.get(IMPLIED_KEY, ""))), given) for given in found]
    return {
        str(given.get("id")): _is_shared(kind, given)
        for kind, given in kinds
        if kind.startswith("memory-backend-")
    }


def _is_shared(kind: str, given: Mapping[str, object]) -> bool:
    share = given.get("share")
    if share is None:
        return kind in SHARED_UNLESS_TOLD
    return share in YES and kind in (*SHARED_UNLESS_TOLD, "memory-backend-file")


def _size(options: Sequence[QemuOption]) -> int:
    """Bytes of memory, as -m says."""
    pairs = [
        ("size" if name == IMPLIED_KEY else name, value)
        for option in options
        if option.name == "m"
        for name, value in _pairs(option)
    ]
    if any(name != "size" for name, _ in pairs):
        raise NotShared("memory that is plugged in later would not be shared")
    text = last(pairs, "size")
    if text is None:
        return DEFAULT_SIZE
    match = re.fullmatch(r"(\d+)([bkmgt]?)", text, re.IGNORECASE)
    size = int(match[1]) * UNITS[match[2].lower()] if match else 0
    if size == 0:
        raise NotShared(f"'-m {text}' is not understood")
    return -(-size // PAGE) * PAGE
