"""The commands, one file per group; each has its table, and this one has all."""

from __future__ import annotations

from wirebay.control.commands import forwards, general, guests, monitor, netdev
from wirebay.control.table import Command

__all__ = ["COMMANDS"]

COMMANDS: dict[str, Command] = {
    command.name: command
    for group in (general, netdev, forwards, guests, monitor)
    for command in group.COMMANDS
}
