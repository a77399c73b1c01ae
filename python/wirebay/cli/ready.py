"""--ready-fd: telling whoever started a command that it is up, as slirp4netns does."""

from __future__ import annotations

import contextlib
import os

from wirebay.errors import OptionError

__all__ = ["check_ready_fd", "report_ready"]


def check_ready_fd(fd: int | None) -> None:
    """Keep the descriptor from programs that the command starts: whoever waits for its end would wait for
    theirs.

    Raises OptionError when it is not open.
    """
    if fd is None:
        return
    try:
        os.set_inheritable(fd, False)
    except (OSError, OverflowError):
        raise OptionError(f"--ready-fd: descriptor {fd} is not open") from None


def report_ready(fd: int | None) -> None:
    """Write "1" to the descriptor and close it; one who went away meanwhile does not matter."""
    if fd is not None:
        with contextlib.suppress(OSError):
            os.write(fd, b"1")
            os.close(fd)
