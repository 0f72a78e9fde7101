"""Result rows on disk: one JSON object a line."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from biasmatters.stages.files import write_bytes
from biasmatters.types import Result

ROWS = "rows.jsonl"


def write_rows(folder: Path, rows: Iterable[Result]) -> None:
    """Write result rows into a stage's folder."""
    lines = [json.dumps(asdict(row), sort_keys=True) for row in rows]
    write_bytes(folder / ROWS, "".join(line + "\n" for line in lines).encode())


def read_rows(folder: Path) -> list[Result]:
    """Read a stage's result rows."""
    text = (folder / ROWS).read_text(encoding="utf-8")
    return [Result(**json.loads(line)) for line in text.splitlines()]
