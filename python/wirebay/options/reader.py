"""Typed reading of options, whatever their spelling.

A reader hands out the values of one option by name, converted, and remembers which names nobody asked for:
`finish` refuses those. Three readers for three spellings, because QEMU words its errors by spelling and only
JSON knows types.
"""

from __future__ import annotations

import os
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Self

from wirebay.errors import OptionError
from wirebay.options.grammar import Pairs, last

MAX_ID = 255  # bytes, by docs/protocol.md
ID_RULE = "a letter, then letters, digits, '-', '.', '_'"

_ID = re.compile(r"[A-Za-z][A-Za-z0-9._-]*")
_NUMBER = re.compile(r"([+-]?)(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)")
_BOOLEANS = {
    **dict.fromkeys(("on", "yes", "true", "y"), True),
    **dict.fromkeys(("off", "no", "false", "n"), False),
}
_ADDRESSES = (IPv4Address, IPv4Network, IPv6Address, IPv6Network)
_RANGES = {
    "int64_t": range(-(1 << 63), 1 << 63),
    "uint64_t": range(1 << 64),
    "int32_t": range(-(1 << 31), 1 << 31),
    "uint16_t": range(1 << 16),
    "uint32_t": range(1 << 32),
}


def parse_number(text: str) -> int | None:
    """A number as C reads it with base 0: decimal, 0x hexadecimal, 0 octal. None for any other text."""
    match = _NUMBER.fullmatch(text)
    if match is None or len(text) > 32:
        return None
    digits = match[2].lower()
    base = 16 if digits.startswith("0x") else 8 if digits.startswith("0") else 10
    return int(match[1] + digits, base)


class Reader(ABC):
    """The values of one option, by name. Absent ones read as None (lists: empty)."""

    has_shorthands = False
    # What a signed and an unsigned number is called when it is none.
    _integer_words = ("integer", "integer")

    def __init__(self, names: Iterable[str], prefix: str = "") -> None:
        self._unread = dict.fromkeys(names)
        self._prefix = prefix

    def string(self, name: str) -> str | None:
        """A text."""
        self._unread.pop(name, None)
        return self._string(name)

    def has(self, name: str) -> bool:
        """Whether the name was given and not read yet."""
        return name in self._unread

    def strings(self, name: str) -> list[str]:
        """A list of texts, in the order given."""
        self._unread.pop(name, None)
        return self._strings(name)

    def boolean(self, name: str) -> bool | None:
        """A switch: on/off, yes/no, true/false, y/n; in JSON true and false."""
        self._unread.pop(name, None)
        return self._boolean(name)

    def integer(self, name: str, c_type: str) -> int | None:
        """A whole number that fits QEMU's `c_type`: int64_t, int32_t, uint16_t, uint32_t or uint64_t."""
        self._unread.pop(name, None)
        number = self._integer(name, self._integer_words[c_type.startswith("u")])
        if number is not None and number not in _RANGES[c_type]:
            raise OptionError(f"Parameter '{name}' expects {c_type}")
        return number

    def shorthand(self, name: str) -> str | None:
        """A text that only the old spelling has; in the others the name stays unread, and so is refused."""
        return self.string(name) if self.has_shorthands else None

    def section(self, name: str) -> Reader:
        """A group of options: `addr.type` and `addr.path` in `addr`. Raises OptionError when it is absent."""
        self._unread.pop(name, None)
        return self._section(name)

    def required(self, name: str) -> str:
        """A text that must be there."""
        value = self.string(name)
        if value is None:
            raise self.missing(name)
        return value

    def missing(self, name: str) -> OptionError:
        """What to raise for a name that must be there."""
        return OptionError(f"Parameter '{self._prefix}{name}' is missing")

    def identifier(self) -> str:
        """The option's `id`."""
        value = self.required("id")
        if not _ID.fullmatch(value):
            raise OptionError(f"Parameter 'id' expects an identifier ({ID_RULE})")
        if len(value) > MAX_ID:
            raise OptionError(f"Parameter 'id' cannot exceed {MAX_ID} characters")
        return value

    def refuse(self, names: Iterable[str], network: str) -> None:
        """Raise OptionError when one of `names`, which QEMU has and Wirebay has not, was given."""
        for name in names:
            if name in self._unread:
                raise not_served(f"option '{self._prefix}{name}' of the {network} network")

    def finish(self) -> None:
        """Raise OptionError for the first name that was given and never read."""
        for name in self._unread:
            raise self._unexpected(name)

    @abstractmethod
    def _string(self, name: str) -> str | None: ...

    @abstractmethod
    def _strings(self, name: str) -> list[str]: ...

    @abstractmethod
    def _section(self, name: str) -> Reader: ...

    @abstractmethod
    def _unexpected(self, name: str) -> OptionError: ...

    def _boolean(self, name: str) -> bool | None:
        text = self._string(name)
        if text is not None and text not in _BOOLEANS:
            raise OptionError(f"Parameter '{self._prefix}{name}' expects 'on' or 'off'")
        return None if text is None else _BOOLEANS[text]

    def _integer(self, name: str, expected: str) -> int | None:
        text = self._string(name)
        number = None if text is None else parse_number(text)
        if text is not None and number is None:
            raise OptionError(f"Parameter '{self._prefix}{name}' expects {expected}")
        return number


class OldReader(Reader):
    """Reads the old spelling; the last of repeated scalars wins."""

    has_shorthands = True
    _integer_words = ("an int64 value", "a uint64 value")

    def __init__(self, pairs: Pairs) -> None:
        super().__init__(name for name, _ in pairs)
        self._pairs = pairs

    def _string(self, name: str) -> str | None:
        return last(self._pairs, name)

    def _strings(self, name: str) -> list[str]:
        return [value for key, value in self._pairs if key == name]

    def _section(self, name: str) -> Reader:
        raise self.missing(name)  # the old spelling cannot nest

    def _unexpected(self, name: str) -> OptionError:
        return OptionError(f"Invalid parameter '{name}'")


class KeyvalReader(Reader):
    """Reads the keyval spelling: nested, every value a text."""

    def __init__(self, tree: Mapping[str, object], prefix: str = "") -> None:
        super().__init__(tree, prefix)
        self._tree = tree

    def _string(self, name: str) -> str | None:
        value = self._tree.get(name)
        if value is None or isinstance(value, str):
            return value
        raise self._wrong_type(name, "string")

    def _strings(self, name: str) -> list[str]:
        value = self._tree.get(name)
        if value is None:
            return []
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise self._wrong_type(name, "array")
        return [self._element(f"{name}[{number}]", element) for number, element in enumerate(value)]

    def _element(self, name: str, element: object) -> str:
        """An element of a list: QEMU wraps it, `{"str": TEXT}`; a bare text is taken too."""
        if isinstance(element, str):
            return element
        if not isinstance(element, Mapping):
            raise self._wrong_type(name, "object")
        wrapped = self._inner(name, element)
        value = wrapped.required("str")
        wrapped.finish()
        return value

    def _section(self, name: str) -> Reader:
        value = self._tree.get(name)
        if value is None:
            raise self.missing(name)
        if not isinstance(value, Mapping):
            raise self._wrong_type(name, "object")
        return self._inner(name, value)

    def _inner(self, name: str, tree: Mapping[str, object]) -> Self:
        """A reader of what lies under a name."""
        return type(self)(tree, f"{self._prefix}{name}.")

    def _unexpected(self, name: str) -> OptionError:
        return OptionError(f"Parameter '{self._prefix}{name}' is unexpected")

    def _wrong_type(self, name: str, expected: str) -> OptionError:
        return OptionError(f"Invalid parameter type for '{self._prefix}{name}', expected: {expected}")


class ObjectReader(KeyvalReader):
    """Reads JSON and the keywords of the Python API: values have types.

    Where a text is expected, what Python programs naturally hold is taken too: a path, an address, a number
    (a port, a descriptor). None counts as absent.
    """

    def __init__(self, tree: Mapping[str, object], prefix: str = "") -> None:
        super().__init__({name: value for name, value in tree.items() if value is not None}, prefix)

    def _string(self, name: str) -> str | None:
        value = self._tree.get(name)
        if isinstance(value, os.PathLike):
            return os.fsdecode(value)
        if isinstance(value, (*_ADDRESSES, int)) and not isinstance(value, bool):
            return str(value)
        return super()._string(name)

    def _boolean(self, name: str) -> bool | None:
        value = self._tree.get(name)
        if value is None or isinstance(value, bool):
            return value
        raise self._wrong_type(name, "boolean")

    def _integer(self, name: str, expected: str) -> int | None:
        value = self._tree.get(name)
        if value is None or (isinstance(value, int) and not isinstance(value, bool)):
            return value
        raise self._wrong_type(name, expected)


def not_served(what: str) -> OptionError:
    """What to raise for something QEMU has and this version of Wirebay has not."""
    return OptionError(f"{what} is not served by this version of wirebay")
