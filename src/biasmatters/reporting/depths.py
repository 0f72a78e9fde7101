"""How much bias each layer puts in, and where on the picture it lands."""

# ruff: noqa: RUF001

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec

from biasmatters.reporting.content import Pictures
from biasmatters.reporting.labels import number
from biasmatters.reporting.sheet import colour_bar, draw_map, draw_picture
from biasmatters.reporting.style import INK, MUTED, PALETTE, new_figure, quiet, wrap

ACROSS = 4
SIDE, NAMED = 2.35, 26


@dataclass(frozen=True)
class Depth:
    """Neighbouring layers, their bias, and where it lands.

    Attributes:
        layers: Their names, in the order of execution.
        injected: How much they put in together, in units of the logit.
        map: ``(H, W)`` where it lands.
    """

    layers: Sequence[str]
    injected: float
    map: Pictures


@dataclass(frozen=True)
class Depths:
    """The bias of one picture's logit by layer.

    Attributes:
        title: Name of the picture and the class.
        picture: ``(H, W, 3)`` in [0, 1].
        shares: How much each operation puts in, in the order of execution, by name.
        parts: Neighbouring layers together.
        note: What else has to be said.
    """

    title: str
    picture: Pictures
    shares: Sequence[tuple[str, float]]
    parts: Sequence[Depth]
    note: str = ""


def depths_figure(depths: Depths) -> Figure:
    """Draw each layer's bias as a bar with the running sum, and where each part's bias lands."""
    maps = 1 + len(depths.parts)
    rows = -(-maps // ACROSS)
    top = 3.1
    figure = new_figure(ACROSS * SIDE + 0.4, top + rows * (SIDE + 0.5) + 0.5, gap=0.04, pad=0.05)
    heights = [top, *[SIDE + 0.3] * rows]
    grid = GridSpec(1 + rows, ACROSS, figure=figure, height_ratios=heights)
    _bars(figure.add_subplot(grid[0, :]), depths)
    first = figure.add_subplot(grid[1, 0])
    draw_picture(first, depths.picture)
    first.set_title("Picture", fontsize=9, color=INK, pad=5)
    shown = []
    for k, part in enumerate(depths.parts, 1):
        axes = figure.add_subplot(grid[1 + k // ACROSS, k % ACROSS])
        draw_map(axes, part.map)
        axes.set_title(_heading(k, part), fontsize=8, color=INK, pad=5)
        shown.append(axes)
    if shown:
        colour_bar(figure, shown)
    figure.suptitle(depths.title, fontsize=12, color=INK, x=0.012, ha="left", parse_math=False)
    if depths.note:
        figure.supxlabel(wrap(depths.note, 110), fontsize=8, color=MUTED)
    return figure


def _heading(place: int, part: Depth) -> str:
    names = part.layers[0] if len(part.layers) == 1 else f"{part.layers[0]} to {part.layers[-1]}"
    return f"{place}: {wrap(names, 34)}\nputs in {number(part.injected, 2)}"


def _bars(axes: Axes, depths: Depths) -> None:
    values = np.array([share for _, share in depths.shares])
    places = np.arange(len(values))
    colours = ["#c0392b" if value > 0 else "#2b6cb0" for value in values]
    axes.bar(places, values, color=colours, width=0.8)
    axes.plot(places, values.cumsum(), color=INK, linewidth=1.1)
    axes.text(
        places[-1] + 0.6 if len(places) else 0, values.sum(), f"b = {number(values.sum(), 2)}",
        fontsize=8.5, color=INK, va="center",
    )  # fmt: skip
    axes.axhline(0, color=MUTED, linewidth=0.7)
    quiet(axes)
    axes.grid(axis="x", visible=False)
    step = max(1, -(-len(values) // NAMED))
    labels = [name for name, _ in depths.shares][::step]
    axes.set_xticks(places[::step], labels, rotation=60, ha="right", fontsize=6.5)
    _borders(axes, depths)
    axes.set_xlim(-0.7, len(values) + 0.06 * max(10, len(values)))
    axes.set_ylabel("bias put in (logit)", fontsize=8.5, color=INK)
    axes.set_title(
        "Each operation’s share of b, from the input to the logit; the line is their running sum",
        fontsize=9, color=INK,
    )  # fmt: skip


def _borders(axes: Axes, depths: Depths) -> None:
    """Mark which bars belong to which map below."""
    end = 0
    for k, part in enumerate(depths.parts, 1):
        start, end = end, end + len(part.layers)
        if k > 1:
            axes.axvline(start - 0.5, color=PALETTE[6], linewidth=0.5, linestyle=(0, (2, 3)))
        axes.annotate(
            str(k), ((start + end - 1) / 2, 0.97), xycoords=("data", "axes fraction"),
            ha="center", va="top", fontsize=8, color=MUTED,
        )  # fmt: skip
