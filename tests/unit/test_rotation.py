"""The files of a capture that is limited in size."""

from __future__ import annotations

from pathlib import Path

import pytest

from wirebay.filters.dump import rotate


@pytest.mark.parametrize("files", [1, 2, 4])
def test_rotation_keeps_so_many_files(tmp_path: Path, files: int) -> None:
    path = tmp_path / "x"
    for number in range(6):
        rotate(path, files)
        path.write_text(str(number))
    kept = {entry.name: entry.read_text() for entry in path.parent.iterdir()}
    assert kept == {"x" + (f".{age}" if age else ""): str(5 - age) for age in range(files)}
