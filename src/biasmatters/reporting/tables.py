"""Tables as data: HTML and Markdown only lay them out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from biasmatters.paper import Finding, Provenance
from biasmatters.types import Result

T = TypeVar("T")


@dataclass(frozen=True)
class Detail:
    """One line of arithmetic under a row."""

    label: str
    text: str
    finding: Finding | None = None


@dataclass(frozen=True)
class Cell:
    """One cell.

    Attributes:
        text: What it says.
        note: Smaller, below it: an interval, a remark.
        strong: Whether it stands out.
        finding: A verdict, shown as a badge.
        provenance: How it is known, shown as a chip.
    """

    text: str = ""
    note: str = ""
    strong: bool = False
    finding: Finding | None = None
    provenance: Provenance | None = None


@dataclass(frozen=True)
class Row:
    """One row; ``kind`` is ``group`` (a heading), ``reference`` (the paper) or empty."""

    cells: tuple[Cell, ...]
    kind: str = ""
    details: tuple[Detail, ...] = ()


@dataclass(frozen=True)
class Column:
    """One column, possibly under a heading that it shares with its neighbours."""

    label: str
    group: str = ""
    numeric: bool = True


@dataclass(frozen=True)
class Table:
    """A table with its caption and notes."""

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Pooled:
    """One figure over several seeds.

    Attributes:
        value: Mean over seeds.
        low: Smallest lower end, or None.
        high: Largest upper end, or None.
        n: Samples of one seed.
        seeds: How many seeds.
    """

    value: float
    low: float | None
    high: float | None
    n: int
    seeds: int


def pooled(rows: Sequence[Result]) -> Pooled | None:
    """Mean over rows that differ only in their seed; None for no rows."""
    if not rows:
        return None
    lows = [r.low for r in rows if r.low is not None]
    highs = [r.high for r in rows if r.high is not None]
    return Pooled(
        sum(r.value for r in rows) / len(rows),
        min(lows) if lows else None,
        max(highs) if highs else None,
        min(r.n for r in rows),
        len({r.seed for r in rows}),
    )


def distinct(results: Iterable[Result], key: Callable[[Result], T]) -> list[T]:
    """Different keys, in the order they first come."""
    return list(dict.fromkeys(key(row) for row in results))


def by_network(results: Iterable[Result]) -> dict[tuple[str, str, str], list[Result]]:
    """Rows by ``(data, model, normalization)``, in the order they first come."""
    found: dict[tuple[str, str, str], list[Result]] = {}
    for row in results:
        found.setdefault((row.data, row.model, row.normalization), []).append(row)
    return found
