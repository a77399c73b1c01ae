"""Ports as Python sees them: options in, set-up and clean-up; the worker moves their frames.

One file per kind. A new kind is a file with a subclass of `Port` and one line in `PORT_CLASSES`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from wirebay.ports.base import Port

if TYPE_CHECKING:
    from wirebay.options.types import Netdev

__all__ = ["Port", "port_class"]

# By the name of the options' class; imported when first used, because no command needs them all.
PORT_CLASSES = {
    "BessOptions": "wirebay.ports.framed:BessPort",
    "BridgeOptions": "wirebay.ports.tap:BridgePort",
    "DgramOptions": "wirebay.ports.dgram:DgramPort",
    "HubportOptions": "wirebay.ports.hubport:HubportPort",
    "L2tpv3Options": "wirebay.ports.l2tpv3:L2tpv3Port",
    "SocketOptions": "wirebay.ports.socket:make_port",
    "StdioOptions": "wirebay.ports.framed:StdioPort",
    "StreamOptions": "wirebay.ports.stream:StreamPort",
    "SwitchportOptions": "wirebay.ports.switchport:SwitchportPort",
    "TapOptions": "wirebay.ports.tap:TapPort",
    "UserOptions": "wirebay.ports.user:UserPort",
    "VdeOptions": "wirebay.ports.vde:make_port",
    "VfkitOptions": "wirebay.ports.framed:VfkitPort",
    "VhostUserOptions": "wirebay.ports.vhost_user:VhostUserPort",
    "VxlanOptions": "wirebay.ports.vxlan:VxlanPort",
}


def port_class(options: Netdev) -> Callable[..., Port]:
    """What makes a port with these options: its class, or a function that chooses one."""
    module, name = PORT_CLASSES[type(options).__name__].split(":")
    return cast(Callable[..., Port], getattr(importlib.import_module(module), name))
