"""How the demo runs things."""

from __future__ import annotations

import json
import sys
from pathlib import Path

# -I -S: the interpreter alone, so that the guest starts fast and finds nothing of this project.
INSIDE = (sys.executable, "-I", "-S", str(Path(__file__).with_name("inside.py")))


def wirebay() -> str:
    """The installed command, beside the interpreter that runs this."""
    return str(Path(sys.executable).with_name("wirebay"))


def into(pid: int) -> list[str]:
    """Words before a command that is to run in the user and network namespace of a process."""
    return ["nsenter", "--user", "--preserve-credentials", "--net", f"--target={pid}"]


def plan(values: dict[str, object]) -> str:
    """The plan as inside.py takes it; `token` names the file a download is kept in until it is uploaded."""
    return json.dumps({"token": f"wirebay-demo-{id(values)}", **values})
