"""Which words the options of each netdev type have, asked of the functions that read them.

A `Recorder` is a reader that has every option and notes what it is asked for. So a word that a function reads
is in the schema, and no other is, without a list that someone would have to keep.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NoReturn

from wirebay.errors import OptionError
from wirebay.options.chardev import read_chardev
from wirebay.options.netdev import netdev_readers
from wirebay.options.objects import read_object
from wirebay.options.reader import Reader

__all__ = ["Section", "Word", "chardev_words", "netdev_words", "object_words"]

#: What `type` may be in a group of options such as `addr`; without any, what needs no group is read.
GROUPS: tuple[Mapping[str, str], ...] = ({}, {"type": "inet"}, {"type": "unix"}, {"type": "fd"})


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
    """Answers as if every option were there, and notes what is asked.

    `answers` are the values of some, as of `type`; other texts that must be there are "1".
    """

    def __init__(self, answers: Mapping[str, str], *, is_group: bool = False) -> None:
        super().__init__(())
        self.words: dict[str, Word] = {}
        self.sections: dict[str, Recorder] = {}
        self.is_complete = False
        self._answers = answers
        self._is_group = is_group

    def identifier(self) -> str:
        """An id that can be one."""
        return "id"

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
        return self._answers.get(name, "1")

    def refuse(self, names: Iterable[str], network: str) -> None:
        """None of these is there."""

    def finish(self) -> None:
        """What comes then are checks; a group is read in the middle of its option."""
        self.is_complete = True
        if not self._is_group:
            raise _Enough

    def _string(self, name: str) -> str | None:
        self._note(name, "string")
        return self._answers.get(name)

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
        self.sections[name] = Recorder(self._answers, is_group=True)
        return self.sections[name]

    def _unexpected(self, name: str) -> NoReturn:
        raise NotImplementedError

    def _note(self, name: str, kind: str) -> None:
        self.words.setdefault(name, Word(kind))


class Absent(Recorder):
    """Answers as if nothing were there but what is `given`, and notes in `lacking` what must be."""

    def __init__(self, answers: Mapping[str, str], given: Collection[str]) -> None:
        super().__init__(answers)
        self.lacking: set[str] = set()
        self._given = given

    def has(self, name: str) -> bool:
        """Only what is given is there."""
        return name in self._given

    def required(self, name: str) -> str:
        """A text that must be there."""
        if name not in self._given and name not in self._answers:
            raise self.missing(name)
        return super().required(name)

    def missing(self, name: str) -> OptionError:
        """It must be there."""
        self.lacking.add(name)
        return Reader.missing(self, name)

    def integer(self, name: str, c_type: str) -> int | None:
        """A number."""
        return super().integer(name, c_type) if name in self._given else None

    def finish(self) -> None:
        """What is missing may be told behind this."""

    def _string(self, name: str) -> str | None:
        return self._answers.get(name, "1" if name in self._given else None)

    def _strings(self, name: str) -> list[str]:
        return ["1"] if name in self._given else []

    def _section(self, name: str) -> Reader:
        if name not in self._given:
            raise self.missing(name)
        return super()._section(name)


def needed_by(read: Callable[[Reader], object], answers: Mapping[str, str]) -> set[str]:
    """The words without which a function raises, found by giving it one more each time."""
    given: set[str] = set()
    while True:
        reader = Absent(answers, given)
        with contextlib.suppress(OptionError):
            read(reader)
        if reader.lacking <= given:
            return given
        given |= reader.lacking


def words_of(
    read: Callable[[Reader], object], tries: Sequence[Mapping[str, str]] = GROUPS
) -> dict[str, Word | Section]:
    """The words that a function reads, when some have the values of one of the `tries`."""
    words: dict[str, Word | Section] = {}
    for answers in tries:
        recorder = Recorder(answers)
        with contextlib.suppress(_Enough, OptionError):
            read(recorder)
        words |= {name: word for name, word in recorder.words.items() if name not in words}
        for name, inner in recorder.sections.items():
            section = words.setdefault(name, Section())
            assert isinstance(section, Section)
            if inner.is_complete:
                section.kinds[answers["type"]] = {n: w for n, w in inner.words.items() if n != "type"}
    needed = needed_by(read, tries[-1])
    for name, word in words.items():
        word.required = name in needed
    return words


def netdev_words(kind: str) -> dict[str, Word | Section]:
    """The words of a netdev type, beside `type` and `id`."""
    return words_of(partial(netdev_readers()[kind], "id"))


def object_words(kind: str) -> dict[str, Word | Section]:
    """The words of an object type, beside `qom-type` and `id`."""
    words = words_of(read_object, [{"qom-type": kind}])
    return {name: word for name, word in words.items() if name != "qom-type"}


def chardev_words() -> dict[str, Word | Section]:
    """The words of a socket chardev, beside `backend` and `id`: it has one kind of address at a time."""
    common = {"backend": "socket", "id": "id"}
    places = ({"path": "1"}, {"host": "1", "port": "1"}, {"fd": "1"})
    words = words_of(read_chardev, [common | place for place in places])
    return {name: word for name, word in words.items() if name not in common}
