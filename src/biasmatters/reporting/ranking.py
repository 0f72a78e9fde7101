"""Ranks with the range that real differences leave: which methods are told apart at all."""

# ruff: noqa: RUF001

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from biasmatters.reporting.labels import (
    data_name,
    input_name,
    method_name,
    metric_name,
    number,
    scientific,
)
from biasmatters.reporting.tables import Cell, Column, Pooled, Row, Table, pooled
from biasmatters.types import Result, Versus

LEVEL = 0.05
# Metrics side by side in a table.
COLUMNS = 4
ARROWS = {"high": "↑", "low": "↓"}
Method = tuple[str, str]
Win = tuple[Method, Method]


@dataclass(frozen=True)
class Standing:
    """Where one method stands in one metric.

    Attributes:
        method: ``(method, rule)``.
        figure: Its mean with the interval.
        rank: By the mean; equal means share a rank.
        low: Best rank that the real differences leave, 1 + the number of methods really better.
        high: Worst one, the number of methods - those really worse.
    """

    method: Method
    figure: Pooled
    rank: int
    low: int
    high: int

    @property
    def span(self) -> str:
        """The ranks from ``low`` to ``high`` in words."""
        return f"rank {self.low}" + (f"–{self.high}" if self.high > self.low else "")


@dataclass(frozen=True)
class Ranking:
    """All methods in one metric, and who really beats whom.

    Attributes:
        metric: E.g. ``deletion_auc``.
        better: ``high`` or ``low``.
        standings: Best mean first.
        wins: ``(better, worse)`` for every difference that is real.
    """

    metric: str
    better: str
    standings: tuple[Standing, ...]
    wins: frozenset[Win]


@dataclass(frozen=True)
class RankGroup:
    """The rankings of one data set, network and origin."""

    data: str
    model: str
    normalization: str
    rankings: tuple[Ranking, ...]


def rank_groups(results: Sequence[Result], versus: Sequence[Versus]) -> list[RankGroup]:
    """Rankings by data set, network and origin, for the metrics whose methods were compared.

    Args:
        results: Rows of any kind; those of a method that are finite, have an aim and are not
            along a curve count.
        versus: Comparisons of methods.

    Returns:
        Groups and metrics in the order in which they first come.
    """
    compared: dict[tuple[str, ...], list[Versus]] = {}
    for duel in versus:
        key = (duel.data, duel.model, duel.normalization, duel.metric)
        compared.setdefault(key, []).append(duel)
    scored: dict[tuple[str, str, str], dict[str, list[Result]]] = {}
    for row in results:
        where = (row.data, row.model, row.normalization)
        aimed = row.method and row.better and row.at is None and math.isfinite(row.value)
        if aimed and (*where, row.metric) in compared:
            scored.setdefault(where, {}).setdefault(row.metric, []).append(row)
    return [
        RankGroup(*where, tuple(ranking(r, compared[*where, m]) for m, r in metrics.items()))
        for where, metrics in scored.items()
    ]


def ranking(results: Sequence[Result], versus: Sequence[Versus]) -> Ranking:
    """Rank methods in one metric.

    A difference is real where its adjusted p-value is at most 0.05; where a pair was compared
    several times (seeds of the training), every one has to find it, in the same direction. A pair
    that was not compared is not told apart.

    Args:
        results: Rows of one data set, network, origin and metric.
        versus: Comparisons of the same.
    """
    better = results[0].better
    sign = -1 if better == "high" else 1
    by_method: dict[Method, list[Result]] = {}
    for row in results:
        by_method.setdefault((row.method, row.rule), []).append(row)
    means = {m: f for m, rows in by_method.items() if (f := pooled(rows)) is not None}
    order = sorted(means, key=lambda m: sign * means[m].value)
    wins = frozenset(w for w in _wins(versus, better) if w[0] in means and w[1] in means)
    levels = [means[m].value for m in order]
    standings = tuple(
        Standing(
            m,
            means[m],
            1 + levels.index(means[m].value),
            1 + sum(loser == m for _, loser in wins),
            len(order) - sum(winner == m for winner, _ in wins),
        )
        for m in order
    )
    return Ranking(results[0].metric, better, standings, wins)


def _wins(versus: Sequence[Versus], better: str) -> set[Win]:
    """``(better, worse)`` for every pair on which all comparisons agree."""
    found: dict[frozenset[Method], set[Win | None]] = {}
    for duel in versus:
        first = (duel.first_method, duel.first_rule)
        second = (duel.second_method, duel.second_rule)
        up = (duel.difference > 0) == (better == "high")
        win = (first, second) if up else (second, first)
        real = duel.p_value <= LEVEL and duel.difference != 0
        found.setdefault(frozenset((first, second)), set()).add(win if real else None)
    return {win for wins in found.values() if len(wins) == 1 for win in wins if win is not None}


def rank_tables(results: Sequence[Result], versus: Sequence[Versus]) -> list[Table]:
    """Tables per data set, network and origin: methods by a few metrics, sorted by mean rank.

    Args:
        results: Rows of any kind.
        versus: Comparisons of methods; metrics without any are left out.
    """
    found = []
    for group in rank_groups(results, versus):
        methods = in_order(group)
        for first in range(0, len(group.rankings), COLUMNS):
            some = replace(group, rankings=group.rankings[first : first + COLUMNS])
            found.append(_table(some, methods, mean_ranks(group)))
    return found


def mean_ranks(group: RankGroup) -> dict[Method, float]:
    """Each method's mean over metrics of its rank by value."""
    columns = [{s.method: s for s in r.standings} for r in group.rankings]
    methods = dict.fromkeys(s.method for r in group.rankings for s in r.standings)
    return {m: _mean([c[m].rank for c in columns if m in c]) for m in methods}


def in_order(group: RankGroup) -> list[Method]:
    """All methods by their mean rank, the best first."""
    mean = mean_ranks(group)
    return sorted(mean, key=lambda m: mean[m])


def _table(group: RankGroup, methods: Sequence[Method], mean: Mapping[Method, float]) -> Table:
    columns = [{s.method: s for s in r.standings} for r in group.rankings]
    texts = [as_text(r) for r in group.rankings]
    body = tuple(
        Row(
            (
                Cell(method_name(*m)),
                Cell(number(mean[m], 1)),
                *(_cell(c.get(m), t) for c, t in zip(columns, texts, strict=True)),
            )
        )
        for m in methods
    )
    heads = [Column(f"{metric_name(r.metric)} {ARROWS[r.better]}") for r in group.rankings]
    counts = {s.figure.n for r in group.rankings for s in r.standings}
    n = "–".join(f"{count:,}" for count in sorted({min(counts), max(counts)}))
    return Table(
        f"Ranks that the real differences leave, {data_name(group.data)}, {group.model}, "
        f"{input_name(group.normalization)} (n = {n} images)",
        (Column("method", numeric=False), Column("mean rank"), *heads),
        body,
        (
            (
                "Means over images with 95 % bootstrap intervals. “rank 2–4”: the places that the "
                "real differences leave, behind all methods really better and before all really "
                "worse. A difference is real where its p-value, corrected for all pairs of the "
                "column, is at most 0.05; all methods saw the same images."
            ),
            (
                "Bold: first, and really better than every other. Sorted by the mean over all "
                "metrics of the rank by value; metrics that ask much the same count each. ↓ low is "
                "better, ↑ high is better."
            ),
        ),
    )


def _mean(values: Sequence[int]) -> float:
    return sum(values) / len(values)


def _cell(found: Standing | None, text: Callable[[float], str]) -> Cell:
    if found is None:
        return Cell("–", "not run")
    note = f"{found.span} {ends(found.figure, text)}".strip()
    return Cell(text(found.figure.value), note, strong=found.low == found.high == 1)


def as_text(found: Ranking) -> Callable[[float], str]:
    """How the values of a metric are written: three figures of the largest."""
    largest = max(abs(s.figure.value) for s in found.standings)
    if largest and not 1e-4 <= largest < 1e5:
        return scientific
    digits = max(0, 2 - math.floor(math.log10(largest))) if largest else 3
    return lambda value: number(value, digits)


def ends(figure: Pooled, text: Callable[[float], str]) -> str:
    """``[low, high]``, or nothing."""
    if figure.low is None or figure.high is None:
        return ""
    return f"[{text(figure.low)}, {text(figure.high)}]"
