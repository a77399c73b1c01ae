"""A file on its way from a tree of values to a `Config`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, get_args, get_type_hints

from wirebay.config.collect import Collector, Mistakes
from wirebay.config.file import Config, ConfigError, Settings
from wirebay.config.places import Path, line_of
from wirebay.config.suspect import suspect, without
from wirebay.errors import OptionError
from wirebay.options.chardev import read_chardev
from wirebay.options.netdev import read_netdev
from wirebay.options.objects import read_object
from wirebay.options.reader import Reader
from wirebay.wiring import Description, contradictions

__all__ = ["READERS", "Reading"]

#: The tables of a file, and what reads one.
READERS: Mapping[str, Callable[[Reader], Any]] = {
    "netdev": read_netdev,
    "chardev": read_chardev,
    "object": read_object,
}


class Reading:
    """One file on its way from a tree of values to a `Config`."""

    def __init__(self, tree: Mapping[str, Any], lines: Mapping[Path, int], name: str) -> None:
        self._tree = dict(tree)
        self._lines = lines
        self._name = name
        self._mistakes: set[tuple[int, str]] = set()

    def config(self) -> Config:
        """What the file says. Raises ConfigError."""
        netdevs, chardevs, objects = (list(self._tables(word, read)) for word, read in READERS.items())
        whole = Description(
            netdevs=tuple(one for _, one in netdevs),
            chardevs=tuple(one for _, one in chardevs),
            objects=tuple(one for _, one in objects),
        )
        settings = self._settings()
        read = [*netdevs, *chardevs, *objects]
        self._contradictions(whole, {id(options): path for path, options in read})
        if self._mistakes:
            told = [f"{self._name}:{line}: {sentence}" for line, sentence in sorted(self._mistakes)]
            raise ConfigError(self._name, told)
        where = {(str(path[0]), options.id): self._place(path) for path, options in read}
        where |= {(word, ""): self._place((word,)) for word in self._tree}
        return Config(settings=settings, whole=whole, places=where)

    def _contradictions(self, whole: Description, paths: Mapping[int, Path]) -> None:
        names = {word: self._names(word) for word in READERS}
        for options, sentence in contradictions(whole, names):
            path = paths[id(options)]
            self._tell((*path, *suspect(self._at(path), sentence)), sentence)

    def _place(self, path: Path) -> str:
        return f"{self._name}:{line_of(self._lines, path)}"

    def _tell(self, path: Path, sentence: str) -> None:
        self._mistakes.add((line_of(self._lines, path), sentence))

    def _at(self, path: Path) -> Any:
        value: Any = self._tree
        for step in path:
            value = value[step]
        return value

    def _tables(self, word: str, read: Callable[[Reader], Any]) -> Iterator[tuple[Path, Any]]:
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

    def _table(self, path: Path, table: dict[str, Any], read: Callable[[Reader], Any]) -> Any:
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
            if word in READERS:
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
