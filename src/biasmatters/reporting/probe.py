"""Tables of what was measured on networks alone."""

# ruff: noqa: RUF001

from __future__ import annotations

from collections.abc import Sequence

from biasmatters.reporting.labels import data_name, input_name, interval, metric_name, number
from biasmatters.reporting.tables import Cell, Column, Row, Table, distinct, pooled
from biasmatters.types import Result

NETWORK = "accuracy"


def probe_tables(results: Sequence[Result]) -> list[Table]:
    """One table per metric of networks: its figures by data set and origin.

    Args:
        results: All rows; those of methods, and the accuracies of Table 1, are left out.
    """
    rows = [r for r in results if not r.method and not r.metric.startswith(NETWORK)]
    metrics = distinct(rows, lambda r: r.metric.partition("/")[0])
    return [_table([r for r in rows if r.metric.partition("/")[0] == m], m) for m in metrics]


def _table(rows: Sequence[Result], metric: str) -> Table:
    places = distinct(rows, lambda r: (r.data, r.model, r.normalization))
    body = []
    for figure in distinct(rows, lambda r: r.metric):
        cells = []
        for data, model, norm in places:
            here = (data, model, norm, figure)
            found = pooled(
                [r for r in rows if (r.data, r.model, r.normalization, r.metric) == here]
            )
            if found is None:
                cells.append(Cell("–"))
            else:
                cells.append(Cell(number(found.value, 3), interval(found.low, found.high, 3)))
        label = figure.partition("/")[2] or figure
        body.append(Row((Cell(label.replace("_", " ")), *cells)))
    heads = [
        Column(input_name(norm), f"{data_name(data)}, {model}") for data, model, norm in places
    ]
    n = min(r.n for r in rows)
    return Table(
        f"{metric_name(metric)} (n = {n:,} images)",
        (Column("figure", numeric=False), *heads),
        tuple(body),
        ("Means over test images with 95 % bootstrap intervals.",),
    )
