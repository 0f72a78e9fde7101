"""Maps of randomised networks: how alike they stay, layer by layer."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.figure import Figure

from biasmatters.reporting.figures import ACROSS, caption, legend, methods_of, panel_grid
from biasmatters.reporting.labels import method_name, metric_name
from biasmatters.reporting.style import INK, look, quiet
from biasmatters.reporting.tables import distinct, pooled
from biasmatters.types import Result

METRICS = ("mprt", "mprt_independent")


def randomized(results: Sequence[Result]) -> list[Result]:
    """The rows of single layers."""
    return [
        r for r in results if r.metric.count("/") == 2 and r.metric.partition("/")[0] in METRICS
    ]


def randomization_figure(results: Sequence[Result]) -> Figure:
    """One panel per test and similarity, one line a method, layers from the output side.

    Args:
        results: Rows of one data set, network and origin; others than those of layers are ignored.

    Returns:
        The figure.
    """
    rows = randomized(results)
    methods = methods_of(rows, distinct(rows, lambda r: r.metric))
    panels = distinct(rows, lambda r: r.metric.rpartition("/")[0])
    figure, grid = panel_grid(len(panels), sharey=True)
    for axes, panel in zip(grid, panels, strict=True):
        here = [r for r in rows if r.metric.rpartition("/")[0] == panel]
        layers = distinct(here, lambda r: r.metric.rpartition("/")[2])
        for index, (method, rule) in enumerate(methods):
            own = [r for r in here if (r.method, r.rule) == (method, rule)]
            values = [pooled([r for r in own if r.metric == f"{panel}/{la}"]) for la in layers]
            height = [math.nan if value is None else value.value for value in values]
            label, style = method_name(method, rule), look(index)
            axes.plot(height, label=label, lw=1.4, ms=4, mew=0, **style)  # type: ignore[arg-type]
        caption(axes, metric_name(panel), "low is better")
        axes.set_xticks(range(len(layers)), layers, rotation=35, ha="right")
        axes.set_ylim(-0.45, 1.05)
        quiet(axes)
    for axes in grid[::ACROSS]:
        axes.set_ylabel("similarity to the intact map", fontsize=8, color=INK)
    legend(figure, grid)
    return figure
