"""The differences between two answers, and the list of those that are accepted (accepted.toml)."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from tests.oracles.user.script import Answers

ABSENT = "absent"


@dataclass(frozen=True)
class Difference:
    """What QEMU's network answers to a step of a scene, and what ours does."""

    scene: str
    step: str
    field: str
    theirs: str
    ours: str

    def __str__(self) -> str:
        return f"{self.scene}: {self.step}: {self.field}: QEMU's '{self.theirs}', ours '{self.ours}'"


@dataclass(frozen=True)
class Accepted:
    """One entry of the list; everything but the reason may be a pattern, as of file names."""

    scene: str
    step: str
    field: str
    theirs: str
    ours: str
    reason: str

    def __str__(self) -> str:
        return f"{self.scene}: {self.step}: {self.field}"

    def covers(self, difference: Difference) -> bool:
        """Whether it is about this difference."""
        names = ("scene", "step", "field", "theirs", "ours")
        return all(fnmatchcase(getattr(difference, name), getattr(self, name)) for name in names)


def differences(scene: str, theirs: Answers, ours: Answers) -> list[Difference]:
    """All of them, in the order of the steps. Answers of another kind differ in that alone."""
    found = []
    for step, mine in ours.items():
        his = theirs[step]
        names = ["answer"] if mine["answer"] != his["answer"] else sorted(mine.keys() | his.keys())
        for name in names:
            pair = his.get(name, ABSENT), mine.get(name, ABSENT)
            if pair[0] != pair[1]:
                found.append(Difference(scene, step, name, *pair))
    return found


def read_accepted(path: Path) -> list[Accepted]:
    """The list. Raises TypeError where an entry lacks a member or has one too many."""
    entries = tomllib.loads(path.read_text()).get("accepted", [])
    return [Accepted(**{"scene": "*", "step": "*"} | entry) for entry in entries]
