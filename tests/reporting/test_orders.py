"""Signed and absolute orders of pixels get their own curves and tables."""

from __future__ import annotations

from dataclasses import replace

from biasmatters.reporting.content import ReportContent
from biasmatters.reporting.document import build
from biasmatters.reporting.orders import by_order


def _with_absolute(content: ReportContent) -> ReportContent:
    rows = list(content.results)
    for row in content.results:
        head, mark, tail = row.metric.partition("_auc")
        if head in ("deletion", "insertion"):
            name = f"{head}_absolute{mark}{tail}"
            rows.append(replace(row, metric=name, value=row.value / 2, low=None, high=None))
    return replace(content, results=rows)


def test_rows_are_split_by_order(content: ReportContent) -> None:
    both = by_order(_with_absolute(content).results)
    assert list(both) == ["signed", "absolute"]
    assert len(both["signed"]) == len(both["absolute"]) > 0
    assert {r.metric for r in both["signed"]} == {r.metric for r in both["absolute"]}
    assert list(by_order(content.results)) == ["signed"]


def test_both_orders_are_shown(content: ReportContent) -> None:
    plain = build(content).sections
    both = build(_with_absolute(content)).sections
    one, two = (next(s for s in d if s.anchor == "faithfulness") for d in (plain, both))
    assert len(two.pictures) == 2 * len(one.pictures)
    assert len({p.name for p in two.pictures}) == len(two.pictures)
    assert len(two.tables) == 2 * len(one.tables)
