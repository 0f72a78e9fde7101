"""Cosine similarity convergence: figures of 1 - median |cos| on a log axis, and a table."""

# ruff: noqa: RUF001

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from biasmatters.reporting.figures import ACROSS, Method, legend, panel_grid
from biasmatters.reporting.labels import method_name, network_name, number, scientific
from biasmatters.reporting.style import INK, MUTED, look, quiet
from biasmatters.reporting.tables import Cell, Column, Row, Table, by_network, distinct
from biasmatters.types import Result

METRIC, RANDOM, DROPPED = "csc", "csc_random", "csc_dropped"
PARALLEL = 0.01
FLOOR = 1e-15
# Methods whose lines are drawn apart from the others.
OURS = "bbp"


def convergence_figure(results: Sequence[Result], methods: Sequence[Method]) -> Figure:
    """One panel per start: what is left of the difference between random signals, layer by layer.

    Layers of one channel, where all vectors are parallel, are left out.

    Args:
        results: Rows of one data set, network and origin.
        methods: Whose lines are drawn.

    Returns:
        The figure.
    """
    results = _told_apart(results)
    starts = distinct(_of(results, METRIC), lambda r: r.metric.split("/")[1])
    figure, panels = panel_grid(len(starts), sharey=True)
    for axes, start in zip(panels, starts, strict=True):
        _panel(axes, results, start, methods)
    drawn = [r.value for r in _of(results, METRIC) if (r.method, r.rule) in set(methods)]
    lowest = min((max(v, FLOOR) for v in drawn if math.isfinite(v)), default=PARALLEL)
    for axes in panels:
        axes.set_ylim(min(lowest, PARALLEL) / 3, 3)
    for axes in panels[::ACROSS]:
        axes.set_ylabel("1 − median |cos|", fontsize=8.5, color=INK)
    legend(figure, panels)
    return figure


def _told_apart(results: Sequence[Result]) -> list[Result]:
    """The rows of layers where random vectors are not parallel by necessity."""
    one = {r.metric.partition("/")[2] for r in _of(results, RANDOM) if r.value == 0}
    return [r for r in results if r.metric.partition("/")[2] not in one]


def _panel(axes: Axes, results: Sequence[Result], start: str, methods: Sequence[Method]) -> None:
    here = [r for r in results if r.metric.split("/")[1:2] == [start]]
    layers = distinct(_of(here, METRIC), lambda r: r.metric.split("/")[2])
    place = {layer: i for i, layer in enumerate(layers)}
    for index, method in enumerate(methods):
        rows = [r for r in _of(here, METRIC) if (r.method, r.rule) == method]
        points = [(place[r.metric.split("/")[2]], max(r.value, FLOOR)) for r in rows]
        points = [(x, y) for x, y in points if math.isfinite(y)]
        style = look(index)
        x, y = [p[0] for p in points], [p[1] for p in points]
        label = method_name(*method)
        axes.plot(x, y, label=label, lw=1.4, ms=4, mew=0, **style)  # type: ignore[arg-type]
    known = {r.metric.split("/")[2]: r.value for r in _of(here, RANDOM)}
    x = [place[layer] for layer in known if layer in place]
    y = [known[layer] for layer in known if layer in place]
    axes.plot(x, y, color=MUTED, lw=1, ls=(0, (1, 2)), label="random vectors")
    axes.axhline(PARALLEL, color=MUTED, lw=0.8)
    axes.set_yscale("log")
    axes.set_xticks(range(len(layers)), layers, rotation=35, ha="right")
    axes.set_xlim(-0.3, max(len(layers) - 0.7, 0.3))
    axes.set_title(f"from {start}", loc="left", fontsize=9.5, color=INK, fontweight="bold")
    quiet(axes)


def families(results: Sequence[Result]) -> dict[str, list[Method]]:
    """BBp by rule and temperature, and all other methods; a family without rows is left out."""
    methods = distinct(_of(results, METRIC), lambda r: (r.method, r.rule))
    found = {
        "BBp by rule and temperature": [m for m in methods if m[0] == OURS],
        "other methods": [m for m in methods if m[0] != OURS],
    }
    return {name: some for name, some in found.items() if some}


def convergence_tables(results: Sequence[Result]) -> list[Table]:
    """One table per data set and network: from the logits all the way down to the input."""
    return [_table(rows, *network) for network, rows in by_network(measured(results)).items()]


def measured(results: Sequence[Result]) -> list[Result]:
    """The rows of convergence, of all kinds."""
    return [r for r in results if r.metric.partition("/")[0].startswith(METRIC)]


def _table(rows: Sequence[Result], data: str, model: str, norm: str) -> Table:
    ends = _of(rows, METRIC)
    start = ends[0].metric.split("/")[1]
    layers = distinct(
        (r for r in ends if r.metric.split("/")[1] == start), lambda r: r.metric.split("/")[2]
    )
    methods = distinct(ends, lambda r: (r.method, r.rule))
    found = {m: _figures([r for r in rows if (r.method, r.rule) == m], start) for m in methods}
    methods.sort(key=lambda m: found[m].get((METRIC, layers[-1]), math.inf))
    body = tuple(
        Row((Cell(method_name(*m)), *(_cell(found[m], layer) for layer in layers))) for m in methods
    )
    like = next(iter(found.values()))
    noise = Row(
        (
            Cell("random vectors"),
            *(Cell(number(like.get((RANDOM, layer), math.nan), 3)) for layer in layers),
        ),
        kind="reference",
    )
    n = min(r.n for r in ends)
    return Table(
        f"1 − median |cos| of signals from {start}, {network_name(data, model, norm)} "
        f"(n = {n:,} images)",
        (Column("method", numeric=False), *(Column(layer) for layer in layers)),
        (*body, noise),
        (
            (
                "How far five random signals that set out at the logits are from parallel when "
                "they arrive, by the method's own rule: |cos| over channels at each position (over "
                "all units of a dense layer), 10 pairs an image. Below it the 10th and 90th "
                "percentile of |cos|, as 1 − |cos|."
            ),
            (
                "Bold: below 0.01 (CSC above 0.99), nothing of the start is left but its size. "
                "Zero vectors are dropped; where more than 1 % were, the share is given. A layer "
                "of one channel (a grey input) is parallel by necessity: compare random vectors."
            ),
            f"Values below about {scientific(FLOOR)} are rounding.",
        ),
    )


def _figures(rows: Sequence[Result], start: str) -> dict[tuple[str, str], float]:
    """Figures of one method from one start, by kind and layer; seeds are averaged."""
    sums: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        kind, from_, layer = row.metric.split("/")
        if from_ == start:
            sums.setdefault((kind, layer), []).append(row.value)
    return {key: sum(values) / len(values) for key, values in sums.items()}


def _cell(found: dict[tuple[str, str], float], layer: str) -> Cell:
    gap = found.get((METRIC, layer), math.nan)
    if not math.isfinite(gap):
        return Cell("–", "all zero")
    ends = [found.get((f"csc_p{p}", layer), math.nan) for p in (90, 10)]
    note = " … ".join(_short(end) for end in ends)
    dropped = found.get((DROPPED, layer), 0.0)
    if dropped > 0.01:
        note += f"; {number(100 * dropped, 0)} % zero"
    return Cell(_short(gap), note, strong=gap < PARALLEL and found.get((RANDOM, layer), 1) > 0)


def _short(value: float) -> str:
    return number(value, 3) if value >= 0.001 else scientific(value)


def _of(results: Sequence[Result], kind: str) -> list[Result]:
    return [r for r in results if r.metric.partition("/")[0] == kind]
