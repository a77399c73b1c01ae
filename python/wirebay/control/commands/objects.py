"""object-add and object-del: filters that come and go while the network runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wirebay.control.table import Command, Context, QmpError
from wirebay.options.objects import object_from_dict

__all__ = ["COMMANDS"]


async def object_add(context: Context, given: Mapping[str, Any]) -> dict[str, Any]:
    """Add a filter, given as `-object` takes it in JSON. Its chardevs are those of the command line."""
    options = object_from_dict(given)
    if options.id in context.network.objects.filters:
        raise QmpError(f"attempt to add duplicate property '{options.id}' to object (type 'container')")
    await context.network.add_object(options)
    return {}


async def object_del(context: Context, id: str) -> dict[str, Any]:  # noqa: A002 - QEMU's name
    """Remove a filter; a capture is complete then."""
    found = context.network.objects.filters.get(id)
    if found is None:
        raise QmpError(f"object '{id}' not found")
    await found.close()
    return {}


COMMANDS = (
    Command("object-add", object_add, None),
    Command("object-del", object_del, {"id": "string"}),
)
