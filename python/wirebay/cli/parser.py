"""The argument parser of the commands: argparse, with one sentence instead of a page for an error."""

from __future__ import annotations

import argparse
import sys
from typing import NoReturn


class Parser(argparse.ArgumentParser):
    """The parser of `wirebay COMMAND`; `epilog` is where its examples go.

    A wrong argument ends the program with status 2 and one sentence. Options cannot be shortened, so that a
    new one never changes what an old command line means.
    """

    def __init__(self, command: str, *, usage: str, description: str, epilog: str | None = None) -> None:
        super().__init__(
            prog=f"wirebay {command}",
            usage=f"wirebay {command} {usage}",
            description=description,
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    def error(self, message: str) -> NoReturn:
        """Leave with status 2."""
        print(f"{self.prog}: {message}", file=sys.stderr)
        raise SystemExit(2)
