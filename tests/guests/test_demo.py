"""The demo is a test too: what a newcomer runs first must pass."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.usefixtures("qemu")
def test_the_demo_passes_on_both_kinds_of_guest_and_leaves_nothing(folder: Path) -> None:
    command = [sys.executable, "-m", "tests.examples.demo", "--size", "20000000"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    rows, count = run.stdout.splitlines()[1:-1], run.stdout.splitlines()[-1]
    assert {row.split()[-1] != "" for row in rows} == {True}
    assert len(rows) == 14
    assert "of" in count
    assert "FAILED" not in run.stdout
    assert list(folder.iterdir()) == []
