"""The process itself: read the file again, end."""

from __future__ import annotations

from typing import Any

from wirebay.control.table import Command, Context, QmpError

__all__ = ["COMMANDS"]


async def reload(context: Context) -> dict[str, Any]:
    """Read the file of `--config` again; the answer tells what was changed, by the ids of the ports."""
    if context.process is None:
        raise QmpError("this wirebay was not started with --config")
    return await context.process.reload()


async def quit_(context: Context) -> dict[str, Any]:
    """End as SIGTERM does; the answer goes out before."""
    if context.process is None:
        raise QmpError("this network is part of a program that does not end when it is told to here")
    context.network.tell("SHUTDOWN", {"guest": False, "reason": "host-qmp-quit"})
    context.process.quit()
    return {}


COMMANDS = (
    Command("quit", quit_, {}),
    Command("wirebay-reload", reload, {}),
)
