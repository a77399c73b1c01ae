"""Wirebay: the network of a virtual machine, outside the virtual machine.

`Network` is where to start. Names are imported when first used: the command line must start fast.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wirebay._core import __version__
    from wirebay.errors import HostError, OptionError, WirebayError, WorkerError
    from wirebay.network import Network
    from wirebay.ports.base import Port
    from wirebay.segments import Hub, Switch

__all__ = [
    "HostError",
    "Hub",
    "Network",
    "OptionError",
    "Port",
    "Switch",
    "WirebayError",
    "WorkerError",
    "__version__",
]

_HOMES = {
    "HostError": "wirebay.errors",
    "Hub": "wirebay.segments",
    "Network": "wirebay.network",
    "OptionError": "wirebay.errors",
    "Port": "wirebay.ports.base",
    "Switch": "wirebay.segments",
    "WirebayError": "wirebay.errors",
    "WorkerError": "wirebay.errors",
    "__version__": "wirebay._core",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'wirebay' has no attribute '{name}'")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value
