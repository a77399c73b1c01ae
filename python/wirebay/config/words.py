"""Which words the options of each netdev type have, asked of the functions that read them.

A `Recorder` is a reader that has every option and notes what it is asked for. So a word that a function reads
is in the schema, and no other is, without a list that someone would have to keep.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NoReturn

from wirebay.errors import OptionError
from wirebay.options.reader import Reader

__all__ = ["SECTION_KINDS", "Section", "Word", "words_of"]

#: What `type` may be in a group of options such as `addr`.
SECTION_KINDS = ("inet", "unix", "fd")


@dataclass(slots=True)
class Word:
    """An option: string, strings, boolean, or for a number its type in C; whether it must be there."""

    kind: str
    required: bool = False


@dataclass(slots=True)
class Section:
    """A group of options, whose words depend on its `type`."""

    kinds: dict[str, dict[str, Word | Section]] = field(default_factory=dict)
    required: bool = False


class _Enough(Exception):
    """Everything has been read."""


class Recorder(Reader):
    """Answers as if every option were there, and notes what is asked. `kind` is the type of every group."""

    def __init__(self, kind: str, *, is_group: bool = False) -> None:
        super().__init__(())
        self.words: dict[str, Word] = {}
        self.sections: dict[str, Recorder] = {}
        self.is_complete = False
        self._kind = kind
        self._is_group = is_group

    def has(self, name: str) -> bool:
        """Every option is there."""
        return name != ""

    def shorthand(self, name: str) -> str | None:
        """JSON and TOML have none."""
        del name
        return None

    def required(self, name: str) -> str:
        """A text that must be there."""
        self.words[name] = Word("string", required=True)
        return self._kind if name == "type" else "1"

    def missing(self, name: str) -> OptionError:
        """It must be there."""
        self.words[name].required = True
        return super().missing(name)

    def refuse(self, names: Iterable[str], network: str) -> None:
        """None of these is there."""

    def finish(self) -> None:
        """What comes then are checks; a group is read in the middle of its option."""
        self.is_complete = True
        if not self._is_group:
            raise _Enough

    def _string(self, name: str) -> str | None:
        self._note(name, "string")
        return None

    def _strings(self, name: str) -> list[str]:
        self._note(name, "strings")
        return []

    def _boolean(self, name: str) -> bool | None:
        self._note(name, "boolean")
        return None

    def integer(self, name: str, c_type: str) -> int | None:
        """A number."""
        self._note(name, c_type)
        return 1

    def _integer(self, *_: object) -> NoReturn:
        raise NotImplementedError

    def _section(self, name: str) -> Reader:
        self.sections[name] = Recorder(self._kind, is_group=True)
        return self.sections[name]

    def _unexpected(self, name: str) -> NoReturn:
        raise NotImplementedError

    def _note(self, name: str, kind: str) -> None:
        self.words.setdefault(name, Word(kind))


def words_of(read: Callable[[str, Reader], object]) -> dict[str, Word | Section]:
    """The words that a function reads, beside `type` and `id`."""
    words: dict[str, Word | Section] = {}
    for kind in ("", *SECTION_KINDS):
        recorder = Recorder(kind)
        with contextlib.suppress(_Enough, OptionError):
            read("id", recorder)
        words |= {name: word for name, word in recorder.words.items() if name not in words}
        for name, inner in recorder.sections.items():
            section = words.setdefault(name, Section())
            assert isinstance(section, Section)
            if inner.is_complete:
                section.kinds[kind] = {n: w for n, w in inner.words.items() if n != "type"}
    return words
