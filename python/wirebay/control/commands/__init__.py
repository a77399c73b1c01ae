"""The commands, one file per group; each has its table, and this one has all."""

from __future__ import annotations

from wirebay.control.commands import (
    cabling,
    flows,
    forwards,
    general,
    guests,
    monitor,
    netdev,
    objects,
    process,
)
from wirebay.control.table import Command

__all__ = ["COMMANDS"]

COMMANDS: dict[str, Command] = {
    command.name: command
    for group in (general, netdev, objects, cabling, forwards, flows, guests, monitor, process)
    for command in group.COMMANDS
}
