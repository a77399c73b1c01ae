"""QEMU's command line as options and their arguments, so that no argument is mistaken for an option."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

# The options that take no argument, of all targets, QEMU 7.2 to 11.1; every other one takes exactly one.
# tests/oracles/test_qemu_rewrite.py asks the installed QEMU.
FLAGS = frozenset((
    "S", "async-teardown", "audio-help", "daemonize", "enable-kvm", "enable-sync-profile", "full-screen", "h",
    "help", "jitdump", "mem-prealloc", "no-acpi", "no-fd-bootchk", "no-hpet", "no-reboot", "no-shutdown",
    "no-user-config", "nodefaults", "nographic", "old-param", "only-migratable", "perfmap", "portrait",
    "preconfig", "s", "semihosting", "singlestep", "snapshot", "usb", "version", "win2k-hack", "xen-attach",
    "xen-domid-restrict",
))  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class QemuOption:
    """One option, or a word that is none (a disk image).

    `name` is without its dashes, "" for a word that is no option; `value` is its argument, None if it takes
    none or if the command line ends before it. `words` is both as they were written.
    """

    name: str
    value: str | None
    words: tuple[str, ...]

    def __str__(self) -> str:
        return " ".join(self.words)

    @property
    def is_cut_off(self) -> bool:
        """Whether the command line ends where the argument should be."""
        return self.name != "" and self.name not in FLAGS and self.value is None


def split_options(arguments: Sequence[str]) -> list[QemuOption]:
    """Take QEMU's arguments (without the program) apart; all `words` together give them back."""
    options: list[QemuOption] = []
    rest = iter(arguments)
    for word in rest:
        name = _option_name(word)
        if name == "" or name in FLAGS:
            options.append(QemuOption(name=name, value=None, words=(word,)))
            continue
        value = next(rest, None)
        words = (word,) if value is None else (word, value)
        options.append(QemuOption(name=name, value=value, words=words))
    return options


def _option_name(word: str) -> str:
    """QEMU takes one dash or two."""
    if not word.startswith("-"):
        return ""
    return word[2:] if word.startswith("--") else word[1:]
