"""Result rows on disk: one JSON object a line."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from biasmatters.stages.files import write_bytes
from biasmatters.types import Result, Versus

ROWS = "rows.jsonl"
VERSUS = "versus.jsonl"


def write_rows(folder: Path, rows: Iterable[Result]) -> None:
    """Write result rows into a stage's folder."""
    _write(folder / ROWS, rows)


def read_rows(folder: Path) -> list[Result]:
    """Read a stage's result rows."""
    return [Result(**fields) for fields in _read(folder / ROWS)]


def write_versus(folder: Path, rows: Iterable[Versus]) -> None:
    """Write comparisons of methods into a stage's folder."""
    _write(folder / VERSUS, rows)


def read_versus(folder: Path) -> list[Versus]:
    """Read a stage's comparisons."""
    return [Versus(**fields) for fields in _read(folder / VERSUS)]


def _write(path: Path, rows: Iterable[Result | Versus]) -> None:
    lines = [json.dumps(asdict(row), sort_keys=True) for row in rows]
    write_bytes(path, "".join(line + "\n" for line in lines).encode())


def _read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
