"""A reader of options that goes on behind a mistake, and keeps all it meets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Self, TypeVar

from wirebay.config.places import Path
from wirebay.errors import OptionError
from wirebay.options.reader import ObjectReader

__all__ = ["Collector", "Mistakes"]

T = TypeVar("T")
Value = TypeVar("Value", str, bool, int)


class Mistakes:
    """What is wrong with one table, by the path of what is wrong in it.

    `has_holes` tells that values were wrong or missing, and so read as absent.
    """

    def __init__(self) -> None:
        self.found: list[tuple[Path, str]] = []
        self.has_holes = False

    def add(self, path: Path, sentence: str) -> None:
        """Keep one; a key is told of once."""
        if path not in (known for known, _ in self.found):
            self.found.append((path, sentence))


class Collector(ObjectReader):
    """Reads one table; its mistakes go to `mistakes`, and what is wrong reads as absent."""

    def __init__(
        self, tree: Mapping[str, object], prefix: str = "", *, mistakes: Mistakes, path: Path = ()
    ) -> None:
        super().__init__(tree, prefix)
        self._mistakes = mistakes
        self._path = path

    def _inner(self, name: str, tree: Mapping[str, object]) -> Self:
        path: Path = (*self._path, *name.removesuffix("]").split("["))
        return type(self)(tree, f"{self._prefix}{name}.", mistakes=self._mistakes, path=path)

    def string(self, name: str) -> str | None:
        """A text."""
        return self._whole(name, super().string, name)

    def strings(self, name: str) -> list[str]:
        """A list of texts; one with a mistake is empty."""
        return self._whole(name, super().strings, name) or []

    def boolean(self, name: str) -> bool | None:
        """A switch."""
        return self._whole(name, super().boolean, name)

    def integer(self, name: str, c_type: str) -> int | None:
        """A whole number."""
        return self._whole(name, super().integer, name, c_type)

    def required(self, name: str) -> str:
        """A text that must be there; "" if it is not."""
        return self._whole(name, super().required, name) or ""

    def identifier(self) -> str:
        """The option's `id`; "" if it is none. Nothing else in the table depends on it."""
        had_holes = self._mistakes.has_holes
        name = self._whole("id", super().identifier) or ""
        self._mistakes.has_holes = had_holes
        return name

    def refuse(self, names: Iterable[str], network: str) -> None:
        """Keep every one of `names` that was given."""
        for name in names:
            if self._whole(name, super().refuse, (name,), network) is None:
                self._unread.pop(name, None)

    def finish(self) -> None:
        """Keep every name that was given and never read."""
        for name in self._unread:
            self._mistakes.add((*self._path, name), str(self._unexpected(name)))

    def _whole(self, name: str, read: Callable[..., T], *arguments: object) -> T | None:
        try:
            return read(*arguments)
        except OptionError as error:
            self._mistakes.add((*self._path, name), str(error))
            self._mistakes.has_holes = True
            return None
