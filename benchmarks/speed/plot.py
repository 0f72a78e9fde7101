"""The plot: a dot for each method and model on a logarithmic axis."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from benchmarks.results import Row
from benchmarks.speed.goals import BATCH, GOALS
from benchmarks.speed.markup import short
from benchmarks.speed.methods import METHODS, Group
from benchmarks.speed.models import MODELS
from biasmatters.reporting.style import INK, MUTED, new_figure, quiet

PREFERRED = "2"
MARKERS: dict[Group, str] = {"gradient": "D", "bbp": "o", "peer": "s"}
# Okabe and Ito's colours, which colour-blind readers can tell apart; the marker tells the groups.
COLOURS: dict[str, str] = {
    "gradient": "#5b6875",
    "local_affine": "#16202a",
    "proportional": "#56b4e9",
    "uniform": "#009e73",
    "softmax_neg_abs": "#d55e00",
    "softmax_neg_abs_cold": "#e69f00",
    "softmax_abs": "#cc79a7",
    "softmax_signed": "#0072b2",
    "softmax_neg_abs_direct": "#882255",
    "zennit_epsilonplus": "#009e73",
    "captum_deeplift": "#cc79a7",
    "smoothgrad": "#56b4e9",
    "integrated_gradients": "#d55e00",
}


def speed_figure(rows: Sequence[Row], batch: str, device: str) -> Figure:
    """Forward passes by model, one line for each method.

    Args:
        rows: Of ``speed.csv``.
        batch: Which batch size to show.
        device: Named in the title.
    """
    rows = [row for row in rows if row["batch"] == batch and row["method"] in METHODS]
    models = [m for m in MODELS if any(row["model"] == m for row in rows)]
    methods = [m for m in METHODS if any(row["method"] == m for row in rows)]
    figure = new_figure(9.6, 1.2 + len(models) * (0.2 + 0.105 * len(methods)))
    axes = figure.subplots()
    axes.set_xscale("log")
    for place, method in enumerate(methods):
        offset = 0.88 * ((place + 0.5) / len(methods) - 0.5)
        _dots(axes, [row for row in rows if row["method"] == method], models, method, offset)
    _mention(axes)
    _dress(axes, models, f"Time to explain a batch of {batch}, {device}")
    figure.legend(
        *axes.get_legend_handles_labels(),
        loc="outside right upper",
        frameon=False,
        fontsize=8,
        labelcolor=INK,
    )
    return figure


def shown_batch(rows: Sequence[Row]) -> str | None:
    """Batch 2 if it was measured, else the smallest; None if nothing has a time."""
    batches = {row["batch"] for row in rows if row["ratio"]}
    return PREFERRED if PREFERRED in batches else min(batches, key=int, default=None)


def _dots(
    axes: Axes, rows: Sequence[Row], models: Sequence[str], method: str, offset: float
) -> None:
    """One method's dots with quartiles, each with its figure."""
    timed = [row for row in rows if row["ratio"]]
    x = [float(row["ratio"]) for row in timed]
    y = [models.index(row["model"]) + offset for row in timed]
    colour = COLOURS[method]
    spread = [
        [max(0.0, value - float(row["low"])) for value, row in zip(x, timed, strict=True)],
        [max(0.0, float(row["high"]) - value) for value, row in zip(x, timed, strict=True)],
    ]
    axes.errorbar(x, y, xerr=spread, fmt="none", ecolor=colour, elinewidth=1)
    group = METHODS[method].group
    axes.plot(
        x, y, MARKERS[group], color=colour, markersize=4.2, markeredgewidth=1,
        markerfacecolor="white" if group == "peer" else colour, label=METHODS[method].label,
    )  # fmt: skip
    for value, height, row in zip(x, y, timed, strict=True):
        low, high = min(value, float(row["low"])), max(value, float(row["high"]))
        asked = _asked(method, row["model"], row["batch"])
        # The figure goes to the other side where it would meet the stroke.
        left = asked is not None and high <= asked < 1.6 * high
        _note(axes, low if left else high, height, short(row["ratio"]), left=left)
        if asked is not None:
            axes.plot([asked], [height], "|", color=INK, markersize=7)
    for row in rows:
        if row["failure"]:
            text = f"{METHODS[method].label}: {row['failure'].partition(':')[0]}"
            _note(axes, 1.0, models.index(row["model"]) + offset, text)


def _asked(method: str, model: str, batch: str) -> float | None:
    """The figure to reach, if there is one."""
    for goal in GOALS:
        if (goal.column, goal.methods, goal.where) == ("ratio", (method,), model):
            return goal.most if batch == str(BATCH) else None
    return None


def _mention(axes: Axes) -> None:
    """The strokes' line in the legend, even where there are none."""
    axes.plot([], [], "|", color=INK, markersize=7, label="figure to reach")


def _note(axes: Axes, x: float, y: float, text: str, *, left: bool = False) -> None:
    axes.annotate(
        text, (x, y), xytext=(-5 if left else 5, 0), textcoords="offset points", va="center",
        ha="right" if left else "left", fontsize=5.5, color=MUTED,
    )  # fmt: skip


def _dress(axes: Axes, models: Sequence[str], title: str) -> None:
    quiet(axes)
    axes.set_title(title, loc="left", fontsize=10.5, color=INK)
    axes.set_xlabel("forward passes (logarithmic), with quartiles over rounds", fontsize=8.5)
    axes.set_yticks(range(len(models)), models)
    axes.set_ylim(len(models) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0, labelsize=9, labelcolor=INK)
    axes.grid(visible=False, axis="y")
    for border in range(1, len(models)):
        axes.axhline(border - 0.5, color=MUTED, linewidth=0.5)
    low, high = axes.get_xlim()
    axes.set_xlim(min(low, 0.9), high * 1.4)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
