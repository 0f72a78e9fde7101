"""A results file: lines as soon as they are known, so that a run can go on where it ended."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TextIO

Row = dict[str, str]


class Results:
    """Rows of a CSV file.

    Args:
        path: Made when the first row is written.
        columns: In order; what a row lacks is left empty.
    """

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self.path = path
        self.columns = tuple(columns)

    def read(self) -> list[Row]:
        """All rows, in order of writing."""
        if not self.path.exists():
            return []
        with self.path.open(newline="") as file:
            return [{c: row.get(c) or "" for c in self.columns} for row in csv.DictReader(file)]

    def append(self, *rows: Row) -> None:
        """Write rows at the end."""
        if not self._fits():
            self._write(self.path, self.read())
        with self.path.open("a", newline="") as file:
            self._writer(file).writerows(rows)

    def forget(self, unwanted: Callable[[Row], bool]) -> None:
        """Drop rows, so that they are measured again."""
        if self.path.exists():
            new = self.path.with_suffix(".new")
            self._write(new, [row for row in self.read() if not unwanted(row)])
            new.replace(self.path)

    def _fits(self) -> bool:
        """Whether the file is there with these columns."""
        if not self.path.exists():
            return False
        with self.path.open(newline="") as file:
            return next(csv.reader(file), []) == list(self.columns)

    def _write(self, path: Path, rows: Iterable[Row]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", newline="") as file:
            writer = self._writer(file)
            writer.writeheader()
            writer.writerows(rows)

    def _writer(self, file: TextIO) -> csv.DictWriter[str]:
        return csv.DictWriter(file, self.columns, restval="", lineterminator="\n")
