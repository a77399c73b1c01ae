"""`python -m wirebay`: the command line, as `wirebay`."""

from __future__ import annotations

import sys

from wirebay.cli import main

if __name__ == "__main__":
    sys.exit(main())
