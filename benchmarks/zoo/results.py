"""The results file: a line as soon as a model is done, so that a run can go on where it ended."""

from __future__ import annotations

import csv
from pathlib import Path

from benchmarks.zoo.ours import RULES
from benchmarks.zoo.peers import PEERS

Row = dict[str, str]

_AFFINE = (
    "verdict", "ops", "residual", "tolerance", "passed", "bias", "output", "margin",
    "forward_seconds", "forwards", "failure",
)  # fmt: skip
_RULE = ("residual", "passed", "fallback", "forwards", "forward_seconds", "failure")
_PEER = ("outcome", "error", "failure")

COLUMNS = (
    "model", "input", "parameters", "connections", "failure",
    *(f"affine_{c}" for c in _AFFINE),
    *(f"{rule}_{c}" for rule in RULES for c in _RULE),
    *(f"{peer}_{c}" for peer in PEERS for c in _PEER),
)  # fmt: skip


def succeeded(row: Row) -> bool:
    """Whether everything of ours passed that was asked for."""
    parts = ["affine", "proportional", "uniform"]
    if row.get("softmax_neg_abs_passed") or row.get("softmax_neg_abs_failure"):
        parts.append("softmax_neg_abs")
    return not row.get("failure") and all(row.get(f"{part}_passed") == "True" for part in parts)


class Results:
    """Rows of a CSV file, by model.

    Args:
        path: Made when the first row is written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> list[Row]:
        """All rows, in order of writing."""
        if not self.path.exists():
            return []
        with self.path.open(newline="") as file:
            return list(csv.DictReader(file))

    def append(self, row: Row) -> None:
        """Write one row at the end."""
        new = not self.path.exists()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, restval="", lineterminator="\n")
            if new:
                writer.writeheader()
            writer.writerow(row)

    def forget(self, models: set[str]) -> None:
        """Drop the rows of some models, so that they are measured again."""
        kept = [row for row in self.read() if row["model"] not in models]
        self.path.unlink(missing_ok=True)
        for row in kept:
            self.append(row)
