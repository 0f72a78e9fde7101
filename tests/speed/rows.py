"""Synthetic rows."""

from __future__ import annotations

from benchmarks.results import Row
from benchmarks.speed import cell, scaling


def speed_row(model: str, batch: int, method: str, **values: object) -> Row:
    row = dict.fromkeys(cell.COLUMNS, "")
    if "ratio" in values:
        row |= {"low": str(values["ratio"]), "high": str(values["ratio"]), "forward_seconds": "0.1"}
    return row | {"model": model, "batch": str(batch), "method": method} | texts(values)


def scaling_row(axis: str, size: int, method: str, **values: object) -> Row:
    row = dict.fromkeys(scaling.COLUMNS, "")
    return row | {"axis": axis, "size": str(size), "method": method} | texts(values)


def texts(values: dict[str, object]) -> Row:
    return {key: str(value) for key, value in values.items()}
