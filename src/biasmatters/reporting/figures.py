"""Figures of result rows: curves with bands, areas with intervals."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from biasmatters.reporting.labels import method_name
from biasmatters.reporting.style import INK, MUTED, look, new_figure, quiet
from biasmatters.reporting.tables import distinct, pooled
from biasmatters.types import Result

CURVES = {
    "deletion": ("Deletion", "pixels removed", "low is better"),
    "insertion": ("Insertion", "pixels put back", "high is better"),
}
AREA = {"deletion_auc": "Deletion, low is better", "insertion_auc": "Insertion, high is better"}
Method = tuple[str, str]
# Panels side by side.
ACROSS = 3


def curve_figure(results: Sequence[Result], methods: Sequence[Method]) -> Figure:
    """Deletion beside insertion, one line a method, its band the interval over images.

    Args:
        results: Rows of one data set, network and origin; others than curve points are ignored.
        methods: ``(method, rule)`` in the order that fixes colours, the same in every figure.

    Returns:
        The figure.
    """
    figure = new_figure(10.4, 3.9)
    panels = figure.subplots(1, 2, sharey=True)
    for axes, metric in zip(panels, CURVES, strict=True):
        for index, (method, rule) in enumerate(methods):
            rows = [r for r in results if (r.metric, r.method, r.rule) == (metric, method, rule)]
            draw_curve(axes, rows, index, method_name(method, rule))
        title, xlabel, better = CURVES[metric]
        caption(axes, title, better)
        axes.set_xlabel(f"share of {xlabel}, %", fontsize=8.5, color=INK)
        axes.set_xlim(0, 100)
        quiet(axes)
    panels[0].set_ylim(0, 1.02)
    panels[0].set_ylabel("probability of the predicted class", fontsize=8.5, color=INK)
    legend(figure, panels)
    return figure


def draw_curve(axes: Axes, rows: Sequence[Result], index: int, label: str) -> None:
    """One method's line and band."""
    points = []
    for at in sorted({r.at for r in rows if r.at is not None}):
        found = pooled([r for r in rows if r.at == at])
        if found is not None:
            points.append((100 * at, found))
    if not points:
        return
    x, style = [at for at, _ in points], look(index)
    known = [(at, f.low, f.high) for at, f in points if f.low is not None and f.high is not None]
    if known:
        where, low, high = (list(column) for column in zip(*known, strict=True))
        axes.fill_between(where, low, high, color=str(style["color"]), alpha=0.13, linewidth=0)
    step = max(1, len(x) // 7)
    axes.plot(
        x,
        [f.value for _, f in points],
        label=label,
        linewidth=1.5,
        markersize=4.2,
        markevery=(index % step, step),
        markeredgewidth=0,
        **style,  # type: ignore[arg-type]
    )


def panel_grid(count: int, *, sharey: bool = False) -> tuple[Figure, list[Axes]]:
    """Panels in rows of three at most, with room for a legend at their right.

    Args:
        count: How many panels, 1 or more.
        sharey: Whether they share the vertical axis.
    """
    across = min(ACROSS, count)
    down = -(-count // across)
    figure = new_figure(2.6 + 3.1 * across, 0.7 + 2.75 * down)
    axes = figure.subplots(down, across, squeeze=False, sharey=sharey).ravel()
    for spare in axes[count:]:
        spare.set_axis_off()
    return figure, list(axes[:count])


def legend(figure: Figure, panels: Iterable[Axes]) -> None:
    """One legend for all panels, at the right: every method that is in any of them."""
    found: dict[str, Artist] = {}
    for axes in panels:
        handles, labels = axes.get_legend_handles_labels()
        found.update(zip(labels, handles, strict=True))
    if found:
        figure.legend(
            list(found.values()),
            list(found),
            loc="outside right center",
            frameon=False,
            fontsize=8,
            labelcolor=INK,
            handlelength=2.6,
        )


def area_figure(results: Sequence[Result], methods: Sequence[Method]) -> Figure:
    """Areas with their intervals, one dot a method, sorted within each panel.

    Args:
        results: Rows of one data set, network and origin.
        methods: ``(method, rule)`` in the order that fixes colours.

    Returns:
        The figure.
    """
    figure = new_figure(10.4, 0.9 + 0.27 * len(methods))
    for axes, metric in zip(figure.subplots(1, 2), AREA, strict=True):
        found = []
        for index, (method, rule) in enumerate(methods):
            rows = [r for r in results if (r.metric, r.method, r.rule) == (metric, method, rule)]
            if (figures := pooled(rows)) is not None:
                found.append((figures, index, method_name(method, rule)))
        found.sort(key=lambda item: item[0].value, reverse=metric == "deletion_auc")
        for place, (area, index, _) in enumerate(found):
            style = look(index)
            if area.low is not None and area.high is not None:
                axes.plot([area.low, area.high], [place, place], color=style["color"], lw=2)
            axes.plot(area.value, place, style["marker"], color=style["color"], ms=5.5)
        axes.set_yticks(range(len(found)), [label for _, _, label in found])
        axes.set_ylim(-0.6, len(found) - 0.4)
        axes.set_xlabel("area under the curve", fontsize=8.5, color=INK)
        caption(axes, *AREA[metric].split(", "))
        quiet(axes)
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0, labelcolor=INK)
    return figure


def caption(axes: Axes, title: str, better: str) -> None:
    """A panel's title, and which way is better."""
    axes.set_title(title, loc="left", fontsize=10.5, color=INK, fontweight="bold")
    axes.set_title(better, loc="right", fontsize=8.5, color=MUTED)


def methods_of(results: Sequence[Result], metrics: Sequence[str]) -> list[Method]:
    """The methods that have any of these metrics, in the order they come."""
    return distinct((r for r in results if r.metric in metrics), lambda r: (r.method, r.rule))
