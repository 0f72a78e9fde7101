"""The figure of all rankings of one network: methods by metrics."""

# ruff: noqa: RUF001

from __future__ import annotations

from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from biasmatters.reporting.labels import method_name, metric_name
from biasmatters.reporting.rank_figure import BETTER, WORSE
from biasmatters.reporting.ranking import ARROWS, RankGroup, in_order
from biasmatters.reporting.style import INK, new_figure

MIDDLE = "#f4f4f2"
SCALE = LinearSegmentedColormap.from_list("ranks", [BETTER, MIDDLE, WORSE])


def overview_figure(group: RankGroup) -> Figure:
    """Methods by metrics: each cell holds the ranks that the real differences leave.

    Its colour is the middle of these ranks, from the first (blue) to the last (orange); where
    nothing is told apart all cells are pale.

    Args:
        group: The rankings of one data set, network and origin.

    Returns:
        The figure, methods in the order of their mean rank.
    """
    methods, metrics = in_order(group), group.rankings
    figure = new_figure(2.6 + 0.44 * len(metrics), 1.9 + 0.27 * len(methods))
    axes = figure.subplots()
    for column, ranking in enumerate(metrics):
        last = max(1, len(ranking.standings) - 1)
        for found in ranking.standings:
            row = methods.index(found.method)
            middle = ((found.low + found.high) / 2 - 1) / last
            axes.fill_between(
                [column - 0.48, column + 0.48], row - 0.46, row + 0.46, color=SCALE(middle), lw=0
            )
            text = f"{found.low}" if found.low == found.high else f"{found.low}–{found.high}"
            axes.text(column, row, text, ha="center", va="center", fontsize=7, color=INK)
    names = [f"{metric_name(r.metric)} {ARROWS[r.better]}" for r in metrics]
    axes.set_xticks(range(len(metrics)), names, rotation=40, ha="left", fontsize=7.5, color=INK)
    axes.set_yticks(range(len(methods)), [method_name(*m) for m in methods], fontsize=8, color=INK)
    axes.xaxis.tick_top()
    axes.set_xlim(-0.6, len(metrics) - 0.4)
    axes.set_ylim(len(methods) - 0.4, -0.6)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure
