"""On which line of a TOML file things are."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wirebay.config.places import Path, line_of, places

TEXT = '''\
# a comment with [[brackets]] and = signs
control = "lab.sock"   # behind a value
"quoted key" = 1
[[netdev]]
type = "user"
hostfwd = [
  "tcp::80-:80",  # "not" [this]

  { str = "tcp::81-:81" },
]
text = """
[[netdev]]
id = "not here"
"""
raw = \'\'\'
a = 1\'\'\'
[[netdev]]
addr.type = "unix"
addr.path = "/a # b"
when = 1979-05-27 07:32:00
[netdev.more]
x = {a = [1, 2], b.c = true}
[ other . "table" ]
y = -1.5e3
'''


def test_tables_keys_and_elements_have_their_lines() -> None:
    found = places(TEXT)
    expected: dict[Path, int] = {
        (): 1,
        ("control",): 2,
        ("quoted key",): 3,
        ("netdev",): 4,
        ("netdev", 0): 4,
        ("netdev", 0, "type"): 5,
        ("netdev", 0, "hostfwd"): 6,
        ("netdev", 0, "hostfwd", 0): 7,
        ("netdev", 0, "hostfwd", 1): 9,
        ("netdev", 0, "hostfwd", 1, "str"): 9,
        ("netdev", 0, "text"): 11,
        ("netdev", 0, "raw"): 15,
        ("netdev", 1): 17,
        ("netdev", 1, "addr"): 18,
        ("netdev", 1, "addr", "type"): 18,
        ("netdev", 1, "addr", "path"): 19,
        ("netdev", 1, "when"): 20,
        ("netdev", 1, "more"): 21,
        ("netdev", 1, "more", "x", "b", "c"): 22,
        ("other", "table"): 23,
        ("other", "table", "y"): 24,
    }
    assert {path: found[path] for path in expected} == expected
    assert all(path in found for path in paths_of(tomllib.loads(TEXT)))


def test_what_has_no_line_has_that_of_what_is_around_it() -> None:
    found = places(TEXT)
    assert line_of(found, ("netdev", 1, "id")) == 17
    assert line_of(found, ("nothing", "at", "all")) == 1


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_both_line_ends_count(ending: str) -> None:
    assert places(f'a = 1{ending}{ending}b = """x{ending}y"""{ending}c = 2')[("c",)] == 5


@pytest.mark.parametrize("quotes", ['""', '"" ""', '\\"""\\"', "a''b"])
def test_quotes_in_long_texts_do_not_end_them(quotes: str) -> None:
    text = f'a = """x\n{quotes}"""\nb = 1' if '"' in quotes else f"a = '''x\n{quotes}'''\nb = 1"
    assert tomllib.loads(text)["b"] == 1
    assert places(text)[("b",)] == 3


def paths_of(value: Any, path: Path = ()) -> Iterator[Path]:
    """Every path in what tomllib has read."""
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, part in inner:
        yield from paths_of(part, (*path, step))


KEYS = st.sampled_from(["a", "b-c", '"d e"', "'f\"g'", '"h.i"', '"j\\"k"', "5"])
SCALARS = st.sampled_from([
    "1", "true", '"x"', '"[\\"]"', "'}'", '"""\na\n\n"b" ]"""', "'''\n[[a]]\n'''", "1979-05-27T07:32:00Z",
])  # fmt: skip


def arrays(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    spaced = st.lists(inner, max_size=3)
    return st.builds(
        lambda parts, gap: f"[{gap}" + f",{gap}".join(parts) + f"{gap}]",
        spaced,
        st.sampled_from(["", "\n", " # no ]\n", "\n\n"]),
    )


VALUES = st.recursive(SCALARS, arrays, max_leaves=4)


@st.composite
def documents(draw: st.DrawFn) -> tuple[str, list[int]]:
    """Tables in an array, and the line on which each statement of them begins."""
    lines: list[str] = []
    begins: list[int] = []
    for _ in range(draw(st.integers(1, 3))):
        lines += [""] * draw(st.integers(0, 2))
        lines.append("[[t]]")
        for key in draw(st.lists(KEYS, unique=True, max_size=4)):
            lines += ["# x = ["] * draw(st.integers(0, 1))
            begins.append(len(lines) + 1)
            lines += f"{key} = {draw(VALUES)} # end".split("\n")
    return "\n".join(lines), begins


@given(documents())
def test_every_statement_of_any_file_is_found_on_its_line(document: tuple[str, list[int]]) -> None:
    text, begins = document
    tree, found = tomllib.loads(text), places(text)
    assert set(paths_of(tree)) <= set(found)
    keys = [("t", number, key) for number, table in enumerate(tree["t"]) for key in table]
    assert [found[path] for path in keys] == begins
