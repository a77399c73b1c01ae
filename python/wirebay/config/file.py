"""A file's text to one `Config`, or to all its mistakes at once, each with its place."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any, Literal, get_args, get_type_hints

from wirebay.config.collect import Collector, Mistakes
from wirebay.config.places import Path, line_of, places
from wirebay.errors import OptionError
from wirebay.options.netdev import read_netdev
from wirebay.options.types import Netdev
from wirebay.wiring import contradictions

__all__ = ["Config", "ConfigError", "LogLevel", "Settings", "parse_config", "read_config"]

LogLevel = Literal["error", "warning", "info", "debug"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """What a file says beside its ports, as the options of the same names (`wirebay serve --help`)."""

    control: str | None = None
    api_socket: str | None = None
    pid_file: str | None = None
    log_level: LogLevel | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """What a file says. `places` are the lines of its top words and of its ports by id."""

    settings: Settings = field(default_factory=Settings)
    netdevs: tuple[Netdev, ...] = ()
    places: Mapping[str, str] = field(default_factory=dict, compare=False)


class ConfigError(OptionError):
    """A file is wrong. `mistakes` are sentences with their places, `FILE:LINE: SENTENCE`."""

    def __init__(self, name: str, mistakes: list[str]) -> None:
        super().__init__(
            mistakes[0]
            if len(mistakes) == 1
            else "\n".join([f"{len(mistakes)} mistakes in {name}", *mistakes])
        )
        self.mistakes = mistakes


def read_config(path: str) -> Config:
    """Read a file. Raises ConfigError with all its mistakes, OptionError when it cannot be read."""
    try:
        text = FilePath(path).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise OptionError(f"--config {path}: the file is not UTF-8") from None
    except OSError as error:
        raise OptionError(f"--config {path}: {error.strerror}") from None
    return parse_config(text, path)


def parse_config(text: str, name: str) -> Config:
    """The same for a text; `name` stands before its mistakes. Raises ConfigError."""
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(name, [_syntax(name, text, str(error))]) from None
    return _Reading(tree, places(text), name).config()


def _syntax(name: str, text: str, reason: str) -> str:
    """tomllib's sentence with its place in front. What ends too early ends on the last line."""
    match = re.fullmatch(r"(.*) \(at (?:line (\d+), column (\d+)|end of document)\)", reason, re.DOTALL)
    if match is None:
        return f"{name}:1: {reason}"
    where = f"{match[2]}:{match[3]}" if match[2] else str(max(1, len(text.splitlines())))
    return f"{name}:{where}: {match[1]}"


class _Reading:
    """One file on its way from a tree of values to a `Config`."""

    def __init__(self, tree: Mapping[str, Any], lines: Mapping[Path, int], name: str) -> None:
        self._tree = dict(tree)
        self._lines = lines
        self._name = name
        self._mistakes: set[tuple[int, str]] = set()

    def config(self) -> Config:
        read = list(self._tables("netdev", read_netdev))
        paths = {id(netdev): path for path, netdev in read}
        netdevs = tuple(netdev for _, netdev in read)
        settings = self._settings()
        names = self._names("netdev")
        for netdev, sentence in contradictions(netdevs, names):
            path = paths[id(netdev)]
            self._tell((*path, *suspect(self._at(path), sentence)), sentence)
        if self._mistakes:
            raise ConfigError(
                self._name, [f"{self._name}:{line}: {sentence}" for line, sentence in sorted(self._mistakes)]
            )
        where = {netdev.id: self._place(path) for path, netdev in read}
        return Config(
            settings=settings,
            netdevs=netdevs,
            places=where | {word: self._place((word,)) for word in self._tree},
        )

    def _place(self, path: Path) -> str:
        return f"{self._name}:{line_of(self._lines, path)}"

    def _tell(self, path: Path, sentence: str) -> None:
        self._mistakes.add((line_of(self._lines, path), sentence))

    def _at(self, path: Path) -> Any:
        value: Any = self._tree
        for step in path:
            value = value[step]
        return value

    def _tables(self, word: str, read: Callable[[Collector], Netdev]) -> Iterator[tuple[Path, Netdev]]:
        """What the tables of one word are read as, those that are right."""
        tables = self._tree.get(word, [])
        if not isinstance(tables, list):
            self._tell((word,), f"'{word}' is a list of tables: write [[{word}]]")
            return
        for number, table in enumerate(tables):
            path: Path = (word, number)
            if not isinstance(table, dict):
                self._tell(path, f"'{word}' is a list of tables: write [[{word}]]")
            elif (netdev := self._table(path, table, read)) is not None:
                yield path, netdev

    def _table(self, path: Path, table: dict[str, Any], read: Callable[[Collector], Netdev]) -> Netdev | None:
        """One table. A rule in a list that is wrong is told, then the rest is read without it."""
        told: set[Path] = set()
        rest = table
        while True:
            mistakes, sentence, netdev = Mistakes(), None, None
            try:
                netdev = read(Collector(rest, mistakes=mistakes))
            except OptionError as error:
                sentence = str(error)
            if sentence is None or mistakes.has_holes:
                break
            culprit = suspect(table, sentence, told)
            self._tell((*path, *culprit), sentence)
            told.add(culprit)
            if not any(isinstance(step, int) for step in culprit):
                break
            rest = without(table, told)
        for inner, complaint in mistakes.found:
            self._tell((*path, *inner), complaint)
        return None if told or mistakes.found else netdev

    def _names(self, word: str) -> set[str]:
        """The ids of all tables of a word, also of those that are wrong; one given twice is told."""
        names: set[str] = set()
        tables = self._tree.get(word)
        for number, table in enumerate(tables if isinstance(tables, list) else []):
            name = table.get("id") if isinstance(table, dict) else None
            if isinstance(name, str):
                if name in names:
                    self._tell((word, number, "id"), f"Duplicate ID '{name}' for {word}")
                names.add(name)
        return names

    def _settings(self) -> Settings:
        """The other words of the file, with a complaint about those that are none."""
        kinds, values = get_type_hints(Settings), {}
        for word, value in self._tree.items():
            name = word.replace("-", "_")
            if word == "netdev":
                continue
            if name not in kinds or "_" in word:
                self._tell((word,), f"Parameter '{word}' is unexpected")
            elif sentence := wrong_setting(word, value, kinds[name]):
                self._tell((word,), sentence)
            else:
                values[name] = value
        return Settings(**values)


def wrong_setting(word: str, value: object, kind: Any) -> str | None:
    """What is wrong with the value of a top word."""
    if not isinstance(value, str):
        return f"Invalid parameter type for '{word}', expected: string"
    choices = [choice for part in get_args(kind) for choice in get_args(part)]
    if choices and value not in choices:
        return f"Parameter '{word}' does not accept value '{value}'"
    return None if value else f"Parameter '{word}' expects a path"


def suspect(table: Mapping[str, Any], sentence: str, told: Collection[Path] = ()) -> Path:
    """Which part of a table a sentence is about: the value that it quotes, else the key; () if neither.

    Those of `told` it is not.
    """
    parts = [(path, value) for path, value in leaves(table) if path not in told]
    quoted = [(path, value) for path, value in parts if value and f"'{value}'" in sentence]
    if quoted:
        return max(quoted, key=lambda part: len(part[1]))[0]
    for path, _ in parts:
        dotted = ".".join(map(str, path))
        if f"'{dotted}'" in sentence or f"{dotted}=" in sentence:
            return path
    return ()


def leaves(value: object, path: Path = ()) -> Iterator[tuple[Path, str]]:
    """Every value that has no parts, as a text, with its path."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from leaves(inner, (*path, name))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from leaves(inner, (*path, number))
    else:
        yield path, str(value)


def without(value: Any, removed: Collection[Path], path: Path = ()) -> Any:
    """The same without the elements of lists that are at one of the paths, or have one in them."""
    if isinstance(value, Mapping):
        return {name: without(inner, removed, (*path, name)) for name, inner in value.items()}
    if isinstance(value, list):
        gone = {other[len(path)] for other in removed if other[: len(path)] == path}
        return [inner for number, inner in enumerate(value) if number not in gone]
    return value
