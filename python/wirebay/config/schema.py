"""The JSON Schema of the file, for editors.

It is made of the options' dataclasses and the functions that read them. The words and their types are those
that the functions ask for (`words.py`); the dataclasses add what a function does not tell: which are one of a
few, and a sentence for people.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, get_args, get_origin, get_type_hints

from wirebay.config.file import Settings
from wirebay.config.words import Section, Word, chardev_words, netdev_words, object_words
from wirebay.options.chardev import read_chardev
from wirebay.options.netdev import netdev_readers
from wirebay.options.objects import object_readers
from wirebay.options.reader import _ID as ID_PATTERN
from wirebay.options.reader import _RANGES as RANGES
from wirebay.options.reader import ID_RULE, MAX_ID

__all__ = ["schema"]

Schema = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
# A text may be given as a number: a port, a descriptor.
TEXT: Schema = {"type": ["string", "integer"]}
# An element of a list is a text, or wrapped as QEMU's JSON has it.
ELEMENT: Schema = {
    "anyOf": [
        {"type": "string"},
        {
            "type": "object",
            "properties": {"str": TEXT},
            "required": ["str"],
            "additionalProperties": False,
        },
    ]
}
IDENTIFIER: Schema = {
    "type": "string",
    "pattern": f"^{ID_PATTERN.pattern}$",
    "maxLength": MAX_ID,
    "description": f"The name of the port: {ID_RULE}",
}


def schema() -> Schema:
    """The schema of a whole file."""
    tables = {
        "netdev": tables_schema(
            "The ports and segments, as -netdev",
            [
                table_schema({"type": name}, read, netdev_words(name))
                for name, read in netdev_readers().items()
            ],
        ),
        "chardev": tables_schema(
            "Connections for filters, as -chardev",
            [table_schema({"backend": "socket"}, read_chardev, chardev_words())],
        ),
        "object": tables_schema(
            "Filters on ports, as -object",
            [
                table_schema({"qom-type": name}, read, object_words(name))
                for name, read in object_readers().items()
            ],
        ),
    }
    whole = closed({**tables, **settings_schema()}, [])
    return {"$schema": DIALECT, "title": "wirebay serve --config", **whole}


def tables_schema(purpose: str, kinds: list[Schema]) -> Schema:
    """A list of tables, each of one of the kinds."""
    return {"type": "array", "description": purpose, "items": {"oneOf": kinds}}


def settings_schema() -> dict[str, Schema]:
    """The words of the file beside its ports."""
    return {
        name.replace("_", "-"): {"type": "string", "minLength": 1, **choices(kind)}
        for name, kind in get_type_hints(Settings).items()
    }


def table_schema(
    kind: Mapping[str, str], read: Callable[..., object], words: Mapping[str, Word | Section]
) -> Schema:
    """The options of one type, which one word of the table tells."""
    options = get_type_hints(read)["return"]
    kinds = get_type_hints(options)
    properties: dict[str, Schema] = {word: {"const": value} for word, value in kind.items()}
    properties["id"] = IDENTIFIER
    required = list(properties)
    for word, what in words.items():
        properties[word] = of_word(what) | choices(kinds.get(word.replace("-", "_")))
        if what.required:
            required.append(word)
    return closed(properties, required) | {"description": summary(options)}


def choices(kind: Any) -> Schema:
    """What a field may be, where it is one of a few texts."""
    parts = [kind, *get_args(kind)]
    few = [choice for part in parts if get_origin(part) is Literal for choice in get_args(part)]
    return {"enum": few} if few else {}


def of_word(what: Word | Section) -> Schema:
    """The schema of one option."""
    if isinstance(what, Section):
        return {"oneOf": [of_group(kind, words) for kind, words in what.kinds.items()]}
    simple: Mapping[str, Schema] = {
        "string": TEXT,
        "strings": {"type": "array", "items": ELEMENT},
        "boolean": {"type": "boolean"},
    }
    if what.kind in simple:
        return dict(simple[what.kind])
    numbers = RANGES[what.kind]
    return {"type": "integer", "minimum": numbers.start, "maximum": numbers.stop - 1}


def of_group(kind: str, words: Mapping[str, Word | Section]) -> Schema:
    """The schema of a group of options such as `addr`, of one type."""
    properties: dict[str, Schema] = {"type": {"const": kind}}
    properties |= {name: of_word(word) for name, word in words.items()}
    return closed(properties, ["type", *(name for name, word in words.items() if word.required)])


def closed(properties: Mapping[str, Schema], required: list[str]) -> Schema:
    """An object that has these members and no others."""
    return {
        "type": "object",
        "properties": dict(properties),
        "required": required,
        "additionalProperties": False,
    }


def summary(options: Any) -> str:
    """What people read: the first paragraph of the dataclass's docstring."""
    return " ".join((options.__doc__ or "").partition("\n\n")[0].replace("`", "").split())
