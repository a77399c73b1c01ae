"""The three ways QEMU spells the options of a network back end.

- *old*: `user,id=u0,hostfwd=tcp::2222-:22`; a key may repeat, a bare key is a boolean (deprecated);
- *keyval*: `stream,id=s0,addr.type=unix,addr.path=/a,,b`; dotted keys nest, no bare keys;
- *JSON*: `{"type": "user", "id": "u0"}`, strings in double or single quotes.

In the first two, `,,` is a comma inside a value, and the first word without `=` is the value of the implied
key `type`. The functions here only take the text apart; what the values mean is for `reader.py`.
Source: QEMU 7.2 and 11.1, observed (QemuOpts, keyval and the JSON parser behind `-netdev`).
"""

from __future__ import annotations

import json
import re
import warnings
from typing import Any

from wirebay.errors import OptionError

IMPLIED_KEY = "type"
MAX_KEY = 127  # characters in one part of a dotted key

Tree = dict[str, Any]
Pairs = list[tuple[str, str]]

_KEY = re.compile(r"[^=,]*")
_VALUE = re.compile(r"((?:[^,]|,,)*)(?:,|\Z)", re.DOTALL)
_PART = re.compile(r"[A-Za-z][A-Za-z0-9_-]*|[0-9]+")
_JSON_STRING = re.compile(r"""("(?:[^"\\]|\\.)*")|'((?:[^'\\]|\\.)*)'""", re.DOTALL)
_JSON_QUOTE = re.compile(r"""\\.|\"""", re.DOTALL)


class OptionWarning(UserWarning):
    """An option is taken, but its spelling is one QEMU calls deprecated."""


def parse_pairs(text: str, *, warn: bool = True) -> Pairs:
    """Take an option in the old spelling apart, in order, repeated keys included. Any text is accepted.

    A bare `key` reads as `key=on` and a bare `nokey` as `key=off`; with `warn` each gives an OptionWarning.
    """
    pairs: Pairs = []
    position = 0
    while position < len(text):
        key, end, has_value = _take_key(text, position)
        if not has_value and position > 0:
            pairs.append(_flag(key, warn))
            position = end + 1
            continue
        value, position = _take_value(text, end + 1 if has_value else position)
        pairs.append((key if has_value else IMPLIED_KEY, value))
    return pairs


def parse_keyval(text: str) -> Tree:
    """Take an option in the keyval spelling apart into nested dictionaries of strings. Raises OptionError."""
    tree: Tree = {}
    position = 0
    while position < len(text):
        key, end, has_value = _take_key(text, position)
        implied = position == 0 and not has_value and key != ""
        parts = [IMPLIED_KEY] if implied else _key_parts(key)
        if not implied and not has_value:
            raise OptionError(f"Expected '=' after parameter '{key}'")
        value, position = _take_value(text, position if implied else end + 1)
        _put(tree, parts, value)
    return tree


def parse_json(text: str) -> Tree:
    """Take an option in the JSON spelling apart. Raises OptionError, also for what is not an object."""
    try:
        tree = json.loads(_JSON_STRING.sub(_double_quoted, text), object_pairs_hook=_without_duplicates)
    except json.JSONDecodeError as error:
        raise OptionError(f"JSON parse error, {error.msg} at character {error.pos + 1}") from None
    except (ValueError, RecursionError) as error:  # a number of absurd length, or absurd nesting
        raise OptionError(f"JSON parse error, {error}") from None
    if not isinstance(tree, dict):
        raise OptionError("JSON parse error, an object is expected")
    return tree


def escape(value: str) -> str:
    """`value` as it is written inside an option: every comma doubled."""
    return value.replace(",", ",,")


def last(pairs: Pairs, key: str) -> str | None:
    """The value that counts when `key` repeats, None when it is not there.

    That is the last one; for `id` it is the first, a peculiarity of QEMU's old parser.
    """
    values = [value for name, value in pairs if name == key]
    if not values:
        return None
    return values[0] if key == "id" else values[-1]


def _take_key(text: str, position: int) -> tuple[str, int, bool]:
    """The key at `position`, where it ends, and whether `=` and a value follow."""
    match = _KEY.match(text, position)
    assert match is not None
    return match[0], match.end(), text.startswith("=", match.end())


def _take_value(text: str, position: int) -> tuple[str, int]:
    """The value at `position` without its escapes, and where the next key begins."""
    match = _VALUE.match(text, position)
    assert match is not None
    return match[1].replace(",,", ","), match.end()


def _flag(word: str, warn: bool) -> tuple[str, str]:
    key, value = (word[2:], "off") if word.startswith("no") else (word, "on")
    if warn and word not in ("help", "?"):
        warnings.warn(
            f"short-form boolean option '{word}' deprecated, please use {key}={value} instead",
            OptionWarning,
            stacklevel=2,
        )
    return key, value


def _key_parts(key: str) -> list[str]:
    parts = key.split(".")
    for number, part in enumerate(parts):
        match = _PART.fullmatch(part)
        if match is None or (number == 0 and part.isdigit()):
            raise OptionError(f"Invalid parameter '{key}'")
        if len(part) > MAX_KEY:
            fragment = " fragment" if len(parts) > 1 else ""
            raise OptionError(f"Parameter{fragment} '{part}' is too long")
    return parts


def _put(tree: Tree, parts: list[str], value: str) -> None:
    for depth, part in enumerate(parts[:-1], start=1):
        inner = tree.setdefault(part, {})
        if not isinstance(inner, dict):
            raise OptionError(f"Parameters '{'.'.join(parts[:depth])}.*' used inconsistently")
        tree = inner
    if isinstance(tree.get(parts[-1]), dict):
        raise OptionError(f"Parameters '{'.'.join(parts)}.*' used inconsistently")
    tree[parts[-1]] = value


def _double_quoted(match: re.Match[str]) -> str:
    """A string literal of QEMU's JSON as one of standard JSON."""
    if match[1] is not None:
        return match[1]
    swaps = {'"': '\\"', "\\'": "'"}
    return '"' + _JSON_QUOTE.sub(lambda quote: swaps.get(quote[0], quote[0]), match[2]) + '"'


def _without_duplicates(members: list[tuple[str, Any]]) -> Tree:
    tree = dict(members)
    if len(tree) != len(members):
        raise OptionError("JSON parse error, duplicate key")
    return tree
