"""Links and file names in the documentation lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.pages import PAGES, ROOT, anchors, name_of, without_code

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FILE = re.compile(r"`((?:rust|python|tests|tools|docs)/[\w./*-]+)`")
PLACEHOLDER = "NAME"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_relative_links_lead_to_files_and_headings(page: Path) -> None:
    for target in LINK.findall(without_code(page.read_text())):
        if target.startswith(("https://", "http://")):
            continue
        name, _, fragment = target.partition("#")
        file = page.parent / name if name else page
        assert file.is_file(), f"{target}: there is no such file"
        assert not fragment or fragment in anchors(file), f"{target}: there is no such heading"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_files_named_in_the_text_exist(page: Path) -> None:
    for name in FILE.findall(page.read_text()):
        if PLACEHOLDER not in name:
            assert list(ROOT.glob(name.rstrip("/"))), f"{name}: there is no such file"


def test_every_page_can_be_reached_from_the_readme() -> None:
    seen: set[Path] = set()
    waiting = [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in seen:
            continue
        seen.add(page)
        targets = [target.partition("#")[0] for target in LINK.findall(without_code(page.read_text()))]
        waiting += [(page.parent / target).resolve() for target in targets if target.endswith(".md")]
    assert set(PAGES) <= seen
