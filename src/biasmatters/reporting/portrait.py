"""One picture explained: the picture, what the network says, and its maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from textwrap import fill

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec

from biasmatters.reporting.content import Pictures, ReportError
from biasmatters.reporting.labels import number, scientific
from biasmatters.reporting.sheet import colour_bar, draw_map, draw_picture
from biasmatters.reporting.style import GRID, INK, MUTED, PALETTE, new_figure, wrap

ACROSS = 4
SIDE, TEXT = 2.35, 0.62


@dataclass(frozen=True)
class Guess:
    """A class as the network judges it.

    Attributes:
        name: Of the class.
        index: Its place among all classes.
        probability: Softmax over all classes.
        logit: The network's output.
    """

    name: str
    index: int
    probability: float
    logit: float


@dataclass(frozen=True)
class Portrait:
    """Everything that the figure of one picture shows.

    Attributes:
        title: Name of the picture.
        network: Name of the network.
        picture: ``(H, W, 3)`` in [0, 1], as the network sees it.
        guesses: The likeliest classes, likeliest first.
        target: The explained class.
        linear: w.x of the explained logit.
        bias: b of the explained logit.
        maps: ``(H, W)`` by heading, in units of the logit.
        certificate: How exact the split is: ``exact``, or what is only linearised.
        residual: Distance of the bias map's sum from b, over ``1 + |b|``.
        note: How the picture was made from the file.
    """

    title: str
    network: str
    picture: Pictures
    guesses: Sequence[Guess]
    target: Guess
    linear: float
    bias: float
    maps: Mapping[str, Pictures]
    certificate: str
    residual: float
    note: str = ""

    def __post_init__(self) -> None:
        for name, values in self.maps.items():
            if values.shape != self.picture.shape[:2]:
                raise ReportError(
                    f"{self.title}: the map of {name!r} has the shape {values.shape}, the picture "
                    f"{self.picture.shape[:2]}; sum the map over channels first."
                )

    @property
    def share(self) -> float:
        """``b / f(x)``; NaN where f(x) is 0."""
        output = self.linear + self.bias
        return self.bias / output if output else float("nan")


def portrait_figure(portrait: Portrait) -> Figure:
    """Draw the picture, its likeliest classes, f = w.x + b, and below them the maps.

    Red speaks for the explained class, blue against it; every map has its own symmetric scale,
    printed below it.
    """
    rows = 1 + -(-len(portrait.maps) // ACROSS)
    figure = new_figure(ACROSS * SIDE + 0.4, rows * (SIDE + 0.35) + TEXT, gap=0.03, pad=0.05)
    grid = GridSpec(rows, 2 * ACROSS, figure=figure)
    picture = figure.add_subplot(grid[0, :2])
    draw_picture(picture, portrait.picture)
    picture.set_xlabel(portrait.note, fontsize=7, color=MUTED, labelpad=3)
    _guesses(figure.add_subplot(grid[0, 2:5]), portrait)
    _parts(figure.add_subplot(grid[0, 5:]), portrait)
    shown = []
    for k, (name, values) in enumerate(portrait.maps.items()):
        column = 2 * (k % ACROSS)
        axes = figure.add_subplot(grid[1 + k // ACROSS, column : column + 2])
        draw_map(axes, values)
        axes.set_title(wrap(name, 26), fontsize=9, color=INK, pad=5)
        shown.append(axes)
    if shown:
        colour_bar(figure, shown)
    heading = f"{portrait.title}: why “{portrait.target.name}”?"
    figure.suptitle(heading, fontsize=12, color=INK, x=0.012, ha="left", parse_math=False)
    return figure


def _guesses(axes: Axes, portrait: Portrait) -> None:
    """Bars of the likeliest classes; the explained one is coloured."""
    guesses = list(portrait.guesses)
    if portrait.target.index not in {guess.index for guess in guesses}:
        guesses.append(portrait.target)
    for place, guess in enumerate(guesses):
        mine = guess.index == portrait.target.index
        axes.barh(place, guess.probability, height=0.38, color=PALETTE[0] if mine else "#b9c3cd")
        axes.text(
            0, place - 0.27, wrap(guess.name, 34).partition("\n")[0], fontsize=8.5, color=INK,
            va="bottom", fontweight="bold" if mine else "normal", parse_math=False,
        )  # fmt: skip
        axes.text(
            guess.probability + 0.015, place, f"{100 * guess.probability:.1f} %", fontsize=8,
            color=MUTED, va="center",
        )  # fmt: skip
    axes.set_ylim(len(guesses) - 0.5, -0.75)
    axes.set_xlim(0, 1.18)
    axes.set_title(f"{portrait.network}: top {len(portrait.guesses)}", fontsize=9, color=INK)
    _off(axes)


def _parts(axes: Axes, portrait: Portrait) -> None:
    """The parts of f = w.x + b as bars on one scale, with what the certificate says below."""
    values = {
        "w·x": (portrait.linear, PALETTE[5]),
        "b": (portrait.bias, PALETTE[1]),
        "f": (portrait.linear + portrait.bias, PALETTE[6]),
    }
    limit = max(abs(value) for value, _ in values.values()) or 1.0
    for place, (name, (value, colour)) in enumerate(values.items()):
        axes.barh(place, value, height=0.5, color=colour)
        axes.text(-1.28 * limit, place, name, fontsize=10, color=INK, va="center")
        side = 1 if value >= 0 else -1
        axes.text(
            value + side * 0.04 * limit, place, number(value, 2), fontsize=8.5, color=INK,
            va="center", ha="left" if side > 0 else "right",
        )  # fmt: skip
    axes.plot([0, 0], [-0.45, 2.45], color=MUTED, linewidth=0.8)
    axes.set_xlim(-1.3 * limit, 1.4 * limit)
    axes.set_ylim(4.9, -0.6)
    share = "undefined, f is 0" if np.isnan(portrait.share) else f"{100 * portrait.share:.0f} %"
    axes.set_title("The explained logit, f = w·x + b", fontsize=9, color=INK)
    lines = [
        f"bias share b / f: {share}",
        f"certificate: {portrait.certificate}",
        f"residual {scientific(portrait.residual)} of 1 + |b|",
    ]
    for k, line in enumerate(lines):
        text = fill(line, 44)
        axes.text(-1.28 * limit, 3.0 + 0.65 * k, text, fontsize=8, color=MUTED, va="center")
    _off(axes)


def _off(axes: Axes) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    axes.spines["left"].set_color(GRID)
