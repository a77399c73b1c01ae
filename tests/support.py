"""What several tests share."""

from __future__ import annotations

import os
import shutil

import pytest


def require_tool(name: str, package: str) -> str:
    """The path of a program that a test needs.

    Where it is missing the test is skipped, with the Debian package that has it; in CI (environment CI=true)
    it fails instead, so that no run is green because it tested nothing.
    """
    path = shutil.which(name)
    if path is not None:
        return path
    reason = f"{name} is not installed; on Debian it is in the package {package}"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)
