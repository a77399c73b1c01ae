"""On which line of a TOML file each table, key and element of an array begins.

tomllib gives values without places. The scan here goes over a text that tomllib has taken, so it needs no
errors of its own: it steps over statements and values and notes where they begin.
Source: TOML 1.0.0.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from types import MappingProxyType

__all__ = ["Path", "line_of", "places"]

Path = tuple[str | int, ...]

_BLANK = re.compile(r"(?:[ \t\r\n,]|#[^\n]*)*")
_KEY = re.compile(r"""[ \t]*([A-Za-z0-9_-]+|"(?:[^"\\]|\\.)*"|'[^']*')[ \t]*""")
_SCALAR = re.compile(
    r'''"""(?:[^"\\]|\\[\s\S]|"{1,2}(?!"))*"{3,5}'''
    r"""|'''(?:[^']|'{1,2}(?!'))*'{3,5}"""
    r'''|"(?:[^"\\]|\\.)*"'''
    r"""|'[^']*'"""
    r"""|[^\s,\]}#]+(?:[ ][0-9][^\s,\]}#]*)?"""  # a date may have a blank before its time
)


def places(text: str) -> Mapping[Path, int]:
    """The line, counted from 1, of every path in a text that tomllib takes; () is that of the whole file."""
    return MappingProxyType(_Scan(text).run())


def line_of(found: Mapping[Path, int], path: Path) -> int:
    """The line of what the path names, or of the innermost thing around it that has one."""
    return next(found[path[:depth]] for depth in range(len(path), -1, -1) if path[:depth] in found)


class _Scan:
    """One pass over a text."""

    def __init__(self, text: str) -> None:
        self._text = text.replace("\r\n", "\n")
        self._at = 0
        self._line, self._counted = 1, 0
        self._lines: dict[Path, int] = {(): 1}
        self._last: dict[Path, int] = {}  # the number of the newest table of each array of tables

    def run(self) -> dict[Path, int]:
        table: Path = ()
        self._skip(_BLANK)
        while self._at < len(self._text):
            if self._text[self._at] == "[":
                table = self._header()
            else:
                self._statement(table)
            self._skip(_BLANK)
        return self._lines

    def _header(self) -> Path:
        """`[table]` or `[[table]]`; returns its path."""
        start, double = self._at, self._text.startswith("[[", self._at)
        self._at += 2 if double else 1
        keys = self._keys()
        self._at += 2 if double else 1
        path = self._resolve(keys[:-1] if double else keys, start)
        if double:
            path = (*path, keys[-1])
            self._last[path] = self._last.get(path, -1) + 1
            self._note(path, start)
            path = (*path, self._last[path])
        self._note(path, start)
        return path

    def _resolve(self, keys: list[str], start: int) -> Path:
        """The path of a header; through an array of tables it means the newest."""
        path: Path = ()
        for key in keys:
            path = (*path, key)
            self._note(path, start)
            if path in self._last:
                path = (*path, self._last[path])
        return path

    def _statement(self, table: Path) -> None:
        start, path = self._at, table
        for key in self._keys():
            path = (*path, key)
            self._note(path, start)
        self._at += 1  # the equals sign
        self._skip(_BLANK)
        self._value(path)

    def _keys(self) -> list[str]:
        keys = []
        while match := _KEY.match(self._text, self._at):
            self._at = match.end()
            keys.append(next(iter(tomllib.loads(f"{match[1]} = 0"))))
            if not self._text.startswith(".", self._at):
                break
            self._at += 1
        return keys

    def _value(self, path: Path) -> None:
        opening = self._text[self._at]
        if opening not in "[{":
            self._skip(_SCALAR)
            return
        self._at += 1
        self._skip(_BLANK)
        number = 0
        while self._text[self._at] not in "]}":
            if opening == "[":
                self._note((*path, number), self._at)
                self._value((*path, number))
                number += 1
            else:
                self._statement(path)
            self._skip(_BLANK)
        self._at += 1

    def _skip(self, what: re.Pattern[str]) -> None:
        match = what.match(self._text, self._at)
        assert match is not None
        self._at = match.end()

    def _note(self, path: Path, at: int) -> None:
        """The first place counts: `a.b = 1` begins the table `a`."""
        self._line += self._text.count("\n", self._counted, at)
        self._counted = at
        self._lines.setdefault(path, self._line)
