"""The demo's table: a row as each check is done, and the count at the end."""

from __future__ import annotations

from dataclasses import dataclass

WIDTHS = (34, 11, 8, 8, 13)
HEADINGS = ("check", "guest", "result", "time", "speed", "note")


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One check: `ok` is None where it could not be made; times in seconds, sizes in bytes."""

    what: str
    guest: str
    ok: bool | None
    seconds: float = 0.0
    size: int = 0
    note: str = ""

    def cells(self) -> tuple[str, ...]:
        result = {True: "ok", False: "FAILED", None: "not run"}[self.ok]
        return self.what, self.guest, result, f"{self.seconds:.2f} s", self.speed(), self.note

    def speed(self) -> str:
        if not self.size or not self.seconds:
            return ""
        bits = self.size * 8 / self.seconds
        return f"{bits / 1e9:.2f} Gbit/s" if bits >= 1e9 else f"{bits / 1e6:.0f} Mbit/s"


class Table:
    """Prints rows as they come and remembers them."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self._print(HEADINGS)

    def add(self, row: Row) -> None:
        self.rows.append(row)
        self._print(row.cells())

    def close(self) -> int:
        """Print the count; returns the exit status."""
        passed = sum(row.ok is True for row in self.rows)
        failed = sum(row.ok is False for row in self.rows)
        left = len(self.rows) - passed - failed
        print(f"{passed} of {passed + failed} checks passed" + (f", {left} not run" if left else ""))
        return 1 if failed or not passed else 0

    @staticmethod
    def _print(cells: tuple[str, ...]) -> None:
        columns = [cell.ljust(width) for cell, width in zip(cells, WIDTHS, strict=False)]
        print(" ".join([*columns, cells[-1]]).rstrip(), flush=True)
