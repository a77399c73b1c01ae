"""Where control sockets are looked for that nobody named."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["runtime_directory"]


def runtime_directory() -> Path | None:
    """The directory, None where the system gives its users no such place."""
    base = os.environ.get("XDG_RUNTIME_DIR")
    return Path(base, "wirebay") if base else None
