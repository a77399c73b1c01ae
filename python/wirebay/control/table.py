"""What a command is, and what it may be given: its name, the types of its arguments, a function."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from wirebay.network import Network

__all__ = ["Command", "Context", "Process", "QmpError", "device_not_found"]

_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
}


class QmpError(Exception):
    """A command was refused. `kind` is QEMU's class of the error, the text its sentence."""

    def __init__(self, sentence: str, kind: str = "GenericError") -> None:
        super().__init__(sentence)
        self.kind = kind


def device_not_found(name: str) -> QmpError:
    """What to raise for an id that nobody has."""
    return QmpError(f"Device '{name}' not found", "DeviceNotFound")


class Process(Protocol):
    """What a command line lets its control do with it."""

    def quit(self) -> None:
        """End as SIGTERM does."""

    async def reload(self) -> dict[str, Any]:
        """Read the file again; returns what was changed. Raises WirebayError if that fails."""


@dataclass(frozen=True, slots=True)
class Context:
    """What commands act on: a network, and its process unless that is a program's. `uptime` is in seconds."""

    network: Network
    uptime: Callable[[], float]
    process: Process | None = None


@dataclass(frozen=True, slots=True)
class Command:
    """A command of the table.

    `arguments` gives the type of each (string, boolean, integer or number), with a question mark where it may
    be left out; None means that the function checks them itself. They reach it as keywords, `_` for `-`.
    """

    name: str
    run: Callable[..., Awaitable[object]]
    arguments: Mapping[str, str] | None

    async def __call__(self, context: Context, given: Mapping[str, Any]) -> object:
        """Carry it out. Raises QmpError for wrong arguments, and whatever the function raises."""
        if self.arguments is None:
            return await self.run(context, given)
        return await self.run(context, **check_arguments(given, self.arguments))


def check_arguments(given: Mapping[str, Any], expected: Mapping[str, str]) -> dict[str, Any]:
    """The arguments as keywords. Raises QmpError with QEMU's sentence for those that do not fit."""
    for name, kind in expected.items():
        if name not in given:
            if kind.endswith("?"):
                continue
            raise QmpError(f"Parameter '{name}' is missing")
        value, wanted = given[name], kind.removesuffix("?")
        if isinstance(value, bool) is not (wanted == "boolean") or not isinstance(value, _TYPES[wanted]):
            raise QmpError(f"Invalid parameter type for '{name}', expected: {wanted}")
    for name in given:
        if name not in expected:
            raise QmpError(f"Parameter '{name}' is unexpected")
    return {name.replace("-", "_"): value for name, value in given.items()}
