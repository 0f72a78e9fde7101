"""Curves of any metric, one panel a metric, one line a method."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from biasmatters.reporting.figures import (
    CURVES,
    caption,
    draw_curve,
    legend,
    methods_of,
    panel_grid,
)
from biasmatters.reporting.labels import AIMS, method_name, metric_name
from biasmatters.reporting.orders import METRICS
from biasmatters.reporting.style import INK, quiet
from biasmatters.reporting.tables import distinct
from biasmatters.types import Result

TRAINED_ANEW = "roar"


def other_curves(results: Sequence[Result]) -> list[str]:
    """The metrics with curves besides deletion and insertion, in the order they come."""
    own = {*CURVES, *(f"{name}_absolute" for name in CURVES), *METRICS}
    found = (r for r in results if r.at is not None and r.metric not in own and r.method)
    return distinct(found, lambda r: r.metric)


def panel_figure(results: Sequence[Result], metrics: Sequence[str]) -> Figure:
    """One panel a metric.

    Args:
        results: Rows of one data set, network and origin.
        metrics: Which curves.

    Returns:
        The figure; its panels share the legend.
    """
    methods = methods_of(results, metrics)
    figure, panels = panel_grid(len(metrics))
    for axes, metric in zip(panels, metrics, strict=True):
        rows = [r for r in results if r.metric == metric]
        for index, method in enumerate(methods):
            own = [r for r in rows if (r.method, r.rule) == method]
            draw_curve(axes, own, index, method_name(*method))
        caption(axes, metric_name(metric), AIMS.get(_better(results, metric), ""))
        axes.set_xlabel("share of pixels, %", fontsize=8.5, color=INK)
        axes.set_ylabel(_height(metric), fontsize=8, color=INK)
        quiet(axes)
    legend(figure, panels)
    return figure


def _better(results: Sequence[Result], metric: str) -> str:
    """Which way is better, as the metric's area says, or its points."""
    names = {f"{metric}_auc", metric}
    return next((r.better for r in results if r.metric in names and r.better), "")


def _height(metric: str) -> str:
    if metric == TRAINED_ANEW:
        return "test accuracy"
    return "correlation" if metric.startswith("sensitivity") else "score of the class"
