"""The documentation as the tests read it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# Where a line of shell stops being the words of one command.
SHELL_END = ("#", "&", "|", ">", ";")


def name_of(page: Path) -> str:
    """The page as it is named in test ids and messages."""
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of a page in one language."""
    return [text for kind, text in FENCE.findall(page.read_text()) if kind == language]


def without_code(text: str) -> str:
    """A page without its fenced blocks and code spans."""
    return re.sub(r"`[^`\n]*`", "", FENCE.sub("", text))


def commands(page: Path) -> Iterator[list[str]]:
    """Every wirebay command of the page's shell examples, as words."""
    for block in blocks(page, "sh"):
        for line in block.replace("\\\n", " ").splitlines():
            words = command_words(line)
            if words[:1] == ["wirebay"]:
                yield words


def command_words(line: str) -> list[str]:
    """The words of a shell line up to a comment, pipe or the like."""
    words = shlex.split(line, comments=True)
    end = next((at for at, word in enumerate(words) if word in SHELL_END), len(words))
    return words[:end]


def anchor(heading: str) -> str:
    """The anchor that a heading gets on the web: lower case, blanks to hyphens, most signs dropped."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")


def anchors(page: Path) -> set[str]:
    """All anchors of a page."""
    return {anchor(line.lstrip("#")) for line in page.read_text().splitlines() if line.startswith("#")}
