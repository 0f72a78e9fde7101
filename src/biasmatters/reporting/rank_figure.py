"""The figure of a ranking: who is really better than whom, and the ranks that this leaves."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from biasmatters.reporting.labels import AIMS, method_name, metric_name
from biasmatters.reporting.ranking import LEVEL, Ranking, as_text, ends
from biasmatters.reporting.style import GRID, INK, MUTED, PALETTE, new_figure, quiet

# The palette's blue and vermilion, lightened as they cover large areas.
BETTER, WORSE, OPEN = "#2f8bc2", "#e0793a", "#eaeef2"
# A method's own cell is left white.
COLOURS = ListedColormap([WORSE, OPEN, BETTER, "#ffffff"])
FIRST = PALETTE[0]
# Inches: names and values beside the panels, the panel of ranks, the limits of the figure.
BESIDE, RANKS, NARROW, WIDE = 3.7, 2.4, 8.4, 10.4
# With more methods than these only every fifth column, or rank, has a number.
MANY_COLUMNS, MANY_RANKS = 26, 12
FIGURE_SPACE = "\u2007"


def rank_figure(found: Ranking) -> Figure:
    """Methods against methods, best first, beside the rank range of each.

    Left, a cell says whether the row's method is really better than the column's, really worse,
    or not told apart. Right, a bar spans the ranks that the real differences leave, with a dot at
    the rank by value.

    Args:
        found: One metric's ranking.

    Returns:
        The figure.
    """
    count = len(found.standings)
    cell = min(0.3, max(0.165, 5.4 / count))
    width = min(WIDE, max(NARROW, BESIDE + RANKS + cell * count))
    figure = new_figure(width, 1.25 + cell * count, gap=0.03)
    square = min(cell * count, width - BESIDE - RANKS)
    matrix, bars = figure.subplots(1, 2, width_ratios=[square, width - BESIDE - square])
    size = 8 if cell > 0.2 else 6.8
    _matrix(matrix, found, size)
    _bars(bars, found, size)
    matrix.set_title(metric_name(found.metric), loc="left", fontsize=10.5, color=INK, weight="bold")
    bars.set_title(AIMS[found.better], loc="right", fontsize=8.5, color=MUTED)
    figure.legend(
        handles=[
            Patch(color=BETTER, label=f"row really better (p ≤ {LEVEL})"),
            Patch(color=WORSE, label="row really worse"),
            Patch(color=OPEN, label="not told apart"),
            _key(FIRST, "possible ranks, first among them"),
            _key(MUTED, "first ruled out"),
        ],
        loc="outside lower center",
        ncols=5,
        frameon=False,
        fontsize=8,
        labelcolor=INK,
    )
    return figure


def _key(colour: str, label: str) -> Line2D:
    """Legend entry of a bar with its dot."""
    return Line2D([], [], color=colour, marker="o", ms=4.5, lw=3, label=label)


def _matrix(axes: Axes, found: Ranking, size: float) -> None:
    """Coloured cells; columns are numbered as the rows."""
    methods = [s.method for s in found.standings]
    place = {m: i for i, m in enumerate(methods)}
    cells = np.ones((len(methods), len(methods)))
    for winner, loser in found.wins:
        cells[place[winner], place[loser]] = 2
        cells[place[loser], place[winner]] = 0
    np.fill_diagonal(cells, 3)
    axes.pcolormesh(cells, cmap=COLOURS, vmin=0, vmax=3, edgecolors="white", linewidth=0.8)
    axes.set_ylim(len(methods), 0)
    numbers = _numbers(len(methods))
    labels = [f"{method_name(*m)}  {n}" for m, n in zip(methods, numbers, strict=True)]
    axes.set_yticks(np.arange(len(methods)) + 0.5, labels)
    shown = _shown(len(methods), MANY_COLUMNS)
    axes.set_xticks([i - 0.5 for i in shown], [str(i) for i in shown])
    axes.tick_params(length=0, labelsize=size, labelcolor=INK)
    axes.tick_params(axis="x", labelcolor=MUTED)
    axes.set_xlabel("against number", fontsize=8.5, color=INK)
    axes.spines[:].set_visible(False)


def _bars(axes: Axes, found: Ranking, size: float) -> None:
    """Rank ranges, with each method's value at the right edge."""
    count, text = len(found.standings), as_text(found)
    quiet(axes)
    for row, standing in enumerate(found.standings):
        colour = FIRST if standing.low == 1 else MUTED
        y = row + 0.5
        axes.plot(
            [standing.low, standing.high], [y, y], color=colour, lw=3, alpha=0.55,
            solid_capstyle="round",
        )  # fmt: skip
        axes.plot(standing.rank, y, "o", color=colour, ms=4.5)
    axes.set_ylim(count, 0)
    axes.set_xlim(0.3, count + 0.5 + 0.02 * count)
    axes.set_xticks(_shown(count, MANY_RANKS))
    axes.set_xlabel("rank", fontsize=8.5, color=INK)
    axes.yaxis.tick_right()
    values = [f"{text(s.figure.value)}  {ends(s.figure, text)}".strip() for s in found.standings]
    axes.set_yticks(np.arange(count) + 0.5, values)
    axes.tick_params(axis="y", length=0, labelsize=size, labelcolor=INK)
    axes.grid(visible=True, axis="y", color=GRID, linewidth=0.5)
    axes.spines[["left", "right"]].set_visible(False)


def _shown(count: int, many: int) -> list[int]:
    """The places that get a number."""
    return [i for i in range(1, count + 1) if count <= many or i == 1 or i % 5 == 0]


def _numbers(count: int) -> list[str]:
    """1, 2, ... of one width: a figure space is as wide as a digit."""
    return [str(i).rjust(len(str(count)), FIGURE_SPACE) for i in range(1, count + 1)]
