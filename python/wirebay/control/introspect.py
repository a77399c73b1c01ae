"""What there is to ask, in QMP's own terms: the answer to `query-qmp-schema`.

The commands come from their table, the events from theirs, the options of `netdev_add` from the functions
that read them (`wirebay/config/words.py`). What commands return is said in docs/control.md alone: it is `any`
here. Source: QEMU's devel/qapi-code-gen, "Client JSON Protocol introspection".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from wirebay.config.words import Section, Word, netdev_words, object_words
from wirebay.control.events import EVENTS
from wirebay.control.table import Command
from wirebay.options.netdev import netdev_readers
from wirebay.options.objects import object_readers

__all__ = ["introspect"]

Entity = dict[str, Any]
Words = Mapping[str, Word | Section]

BUILTINS = {
    "str": "string",
    "int": "int",
    "number": "number",
    "bool": "boolean",
    "null": "null",
    "any": "value",
}
TYPES = {"string": "str", "integer": "int", "number": "number", "boolean": "bool", "any": "any"}
# What the commands take whose functions read it as options.
OPTIONS = {"netdev_add": "netdev", "object-add": "object"}
# Of a word of an option; numbers are told by their type in C.
WORDS = {"string": "str", "strings": "[any]", "boolean": "bool"}


def introspect(commands: Mapping[str, Command], negotiate: str) -> list[Entity]:
    """Every command, event and type; `negotiate` is the command that comes before the table."""
    return [
        *({"name": name, "meta-type": "builtin", "json-type": kind} for name, kind in BUILTINS.items()),
        {"name": "[any]", "meta-type": "array", "element-type": "any"},
        {"name": "[str]", "meta-type": "array", "element-type": "str"},
        {"name": "address", "meta-type": "object", "members": [member("type", "str")]},
        {"name": "string?", "meta-type": "alternate", "members": [{"type": "str"}, {"type": "null"}]},
        *command_entities(negotiate, [{"name": "enable", "type": "[str]", "default": None}]),
        *(entity for command in commands.values() for entity in of_command(command)),
        *(entity for name, members in EVENTS.items() for entity in of_event(name, members)),
        *variants("netdev", "type", {name: netdev_words(name) for name in netdev_readers()}),
        *variants("object", "qom-type", {name: object_words(name) for name in object_readers()}),
    ]


def of_command(command: Command) -> Iterator[Entity]:
    """A command and its arguments."""
    if command.arguments is None:
        arguments = OPTIONS[command.name]
        yield {"name": command.name, "meta-type": "command", "arg-type": arguments, "ret-type": "any"}
        return
    yield from command_entities(
        command.name,
        [
            member(name, TYPES[kind.removesuffix("?")], optional=kind.endswith("?"))
            for name, kind in command.arguments.items()
        ],
    )


def command_entities(name: str, members: list[Entity]) -> Iterator[Entity]:
    """A command with these arguments."""
    arguments = f"{name}-arg"
    yield {"name": name, "meta-type": "command", "arg-type": arguments, "ret-type": "any"}
    yield {"name": arguments, "meta-type": "object", "members": members}


def of_event(name: str, members: Mapping[str, str]) -> Iterator[Entity]:
    """An event and its data."""
    yield {"name": name, "meta-type": "event", "arg-type": f"{name}-arg"}
    told = [member(word, TYPES.get(kind, kind)) for word, kind in members.items()]
    yield {"name": f"{name}-arg", "meta-type": "object", "members": told}


def member(name: str, kind: str, *, optional: bool = False) -> Entity:
    """A member of an object; QMP marks one that may be left out with a default of null."""
    return {"name": name, "type": kind, **({"default": None} if optional else {})}


def variants(name: str, tag: str, kinds: Mapping[str, Words], *, has_id: bool = True) -> Iterator[Entity]:
    """An object whose further members depend on what its `tag` says."""
    yield {
        "name": f"{name}-type",
        "meta-type": "enum",
        "values": list(kinds),
        "members": [{"name": kind} for kind in kinds],
    }
    yield {
        "name": name,
        "meta-type": "object",
        "tag": tag,
        "members": [member(tag, f"{name}-type"), *([member("id", "str")] if has_id else [])],
        "variants": [{"case": kind, "type": f"{name}.{kind}"} for kind in kinds],
    }
    for kind, words in kinds.items():
        yield from with_words(f"{name}.{kind}", words)


def with_words(name: str, words: Words) -> Iterator[Entity]:
    """An object with these options as its members."""
    members = []
    for word, what in words.items():
        kind = f"{name}.{word}" if isinstance(what, Section) else WORDS.get(what.kind, "int")
        members.append(member(word, kind, optional=not what.required))
        if isinstance(what, Section):
            yield from variants(kind, "type", what.kinds, has_id=False)
    yield {"name": name, "meta-type": "object", "members": members}
