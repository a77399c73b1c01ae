"""Which part of a table a sentence about it is about."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from wirebay.config.places import Path

__all__ = ["suspect", "without"]


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
