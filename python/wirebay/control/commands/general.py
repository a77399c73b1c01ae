"""What a client asks first: who is there, what can be asked, how it goes."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

from wirebay._core import __version__
from wirebay.control.session import NEGOTIATE
from wirebay.control.table import Command, Context

__all__ = ["COMMANDS", "version"]


def version() -> dict[str, Any]:
    """QMP's version object. Clients want it named after QEMU; the numbers are ours."""
    numbers = [int(number) for number in re.findall(r"\d+", __version__)[:3]]
    names = ("major", "minor", "micro")
    return {"qemu": dict(zip(names, numbers, strict=True)), "package": f"wirebay {__version__}"}


async def query_version(context: Context) -> dict[str, Any]:
    """The version, as in the greeting."""
    del context
    return version()


async def query_commands(context: Context) -> list[dict[str, str]]:
    """The names of all commands."""
    from wirebay.control.commands import COMMANDS as ALL  # it imports this file

    del context
    return [{"name": name} for name in sorted((NEGOTIATE, *ALL))]


async def query_qmp_schema(context: Context) -> list[dict[str, Any]]:
    """Every command, event and type."""
    from wirebay.control.commands import COMMANDS as ALL
    from wirebay.control.introspect import introspect

    del context
    return introspect(ALL, NEGOTIATE)


async def query_status(context: Context) -> dict[str, Any]:
    """Running: what has failed for good does not answer."""
    del context
    return {"status": "running", "running": True}


async def status(context: Context) -> dict[str, Any]:
    """The process, its worker, and how much there is of everything."""
    network = context.network
    return {
        "version": __version__,
        "pid": os.getpid(),
        "worker-pid": network.worker.pid,
        "uptime": round(context.uptime(), 3),
        "ports": len(network.ports),
        "hubs": len(network.hubs),
    }


async def ports(context: Context) -> list[dict[str, Any]]:
    """Every port: what it is, and the hub it sits on."""
    return [
        {
            "id": port.id,
            "type": port.kind,
            "hub": port.hub.name if port.hub else None,
            # What people read after the id, which stands in front.
            "text": port.describe().removeprefix(f"{port.id}: "),
        }
        for port in context.network.ports.values()
    ]


async def stats(context: Context) -> Mapping[str, Any]:
    """The counters of every port, as the worker and the services have them."""
    return await context.network.stats()


COMMANDS = (
    Command("query-version", query_version, {}),
    Command("query-commands", query_commands, {}),
    Command("query-qmp-schema", query_qmp_schema, {}),
    Command("query-status", query_status, {}),
    Command("wirebay-query-status", status, {}),
    Command("wirebay-query-ports", ports, {}),
    Command("wirebay-query-stats", stats, {}),
)
