"""Rows of deletion and insertion by the order in which pixels are taken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from biasmatters.types import Result

METRICS = ("deletion_auc", "insertion_auc", "deletion", "insertion")
SIGNED, ABSOLUTE = "signed", "absolute"


def by_order(results: Sequence[Result]) -> dict[str, list[Result]]:
    """The rows of :data:`METRICS` for each order, ``deletion_absolute_auc`` named plainly.

    Args:
        results: Rows of any metrics; others are ignored.

    Returns:
        Rows by ``signed`` and ``absolute``; an order without rows is left out.
    """
    found: dict[str, list[Result]] = {SIGNED: [], ABSOLUTE: []}
    for row in results:
        plain = row.metric.replace("_absolute", "")
        if plain in METRICS:
            order = SIGNED if plain == row.metric else ABSOLUTE
            found[order].append(replace(row, metric=plain))
    return {order: rows for order, rows in found.items() if rows}
