"""What several tests share."""

from __future__ import annotations

import os
import shutil
from typing import NoReturn

import pytest

from wirebay.cli import probes


def require_tool(name: str, package: str) -> str:
    """The path of a program that a test needs.

    Where it is missing the test is skipped, with the Debian package that has it; in CI (environment CI=true)
    it fails instead, so that no run is green because it tested nothing.
    """
    path = shutil.which(name)
    if path is None:
        do_without(f"{name} is not installed; on Debian it is in the package {package}")
    return path


def require_namespaces() -> None:
    """Skip, or fail in CI, where this host lets nobody have namespaces or a TAP in them."""
    for failure in probes.try_namespace()[:2]:
        if failure:
            do_without(failure)


def do_without(reason: str) -> NoReturn:
    """Skip the test for what this host lacks, or fail it in CI."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)
