"""Ports as Python sees them: options in, set-up and clean-up; the worker moves their frames.

One file per kind. A new kind is a file with a subclass of `Port` and one line in `PORT_CLASSES`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, cast

from wirebay.ports.base import Port

if TYPE_CHECKING:
    from wirebay.options.types import Netdev

__all__ = ["Port", "port_class"]

# By the name of the options' class; imported when first used, because no command needs them all.
PORT_CLASSES = {
    "UserOptions": "wirebay.ports.user:UserPort",
    "StreamOptions": "wirebay.ports.stream:StreamPort",
    "VhostUserOptions": "wirebay.ports.vhost_user:VhostUserPort",
    "TapOptions": "wirebay.ports.tap:TapPort",
    "HubportOptions": "wirebay.ports.hubport:HubportPort",
    "SwitchportOptions": "wirebay.ports.switchport:SwitchportPort",
}


def port_class(options: Netdev) -> type[Port]:
    """The class of ports that these options describe."""
    module, name = PORT_CLASSES[type(options).__name__].split(":")
    return cast(type[Port], getattr(importlib.import_module(module), name))
