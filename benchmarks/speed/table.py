"""The tables of figures by method and model, as functions of the results."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from benchmarks.results import Row
from benchmarks.speed.goals import GOALS, Reached, reached
from benchmarks.speed.limits import OVER
from benchmarks.speed.markup import escape, line, short, table
from benchmarks.speed.methods import METHODS
from benchmarks.speed.models import MODELS
from benchmarks.speed.scaling import AXES, SCALED, fit, fit_rows
from benchmarks.speed.statistics import Fit

Cell = Callable[[Row], str]


def goal_lines(rows: Sequence[Row], scaling: Sequence[Row]) -> list[str]:
    """Every goal: figure asked, figure got, met or not."""
    found = [(goal, reached(goal, rows, scaling)) for goal in GOALS]
    lines = [f"**{count([r for _, r in found])}**", "", line(["goal", "asked", "got", "verdict"])]
    lines.append(line(["---"] * 4))
    for goal, result in found:
        verdict = f"**{result.verdict}**" if result.verdict == "NOT met" else result.verdict
        lines.append(line([escape(goal.title), goal.asked, escape(result.got), verdict]))
    return [*lines, ""]


def count(results: Sequence[Reached]) -> str:
    """How many goals are met, in words."""
    met = sum(result.verdict == "met" for result in results)
    missing = sum(result.verdict == "not measured" for result in results)
    note = f", {missing} not measured" if missing else ""
    return f"{met} of {len(results)} goals met{note}."


def batch_table(rows: Sequence[Row], cell: Cell) -> list[str]:
    """Methods down, models across, for the rows of one batch size; empty lines are left out."""
    models = [m for m in MODELS if any(row["model"] == m for row in rows)]
    found = {(row["method"], row["model"]): cell(row) for row in rows}
    lines = [
        [escape(method.label), *(found.get((name, model), "-") for model in models)]
        for name, method in METHODS.items()
        if any(found.get((name, model)) for model in models)
    ]
    return table(["method", *map(escape, models)], lines)


def time_cell(row: Row) -> str:
    """Forward passes with quartiles, or what happened instead."""
    if row["failure"]:
        return failure_cell(row)
    low, high = short(row["low"]), short(row["high"])
    spread = f" ({low}–{high})" if low != high else ""  # noqa: RUF001
    return f"{short(row['ratio'])}{spread}"


def failure_cell(row: Row) -> str:
    """Why there is no figure, in a word."""
    kind = row["failure"].partition(":")[0]
    return kind if kind in (OVER, "timed out", "crashed") else f"raises ({escape(kind)})"


def memory_cell(row: Row) -> str:
    """Times the peak of the gradient; in MiB where that is too small to see."""
    if row["memory_ratio"]:
        return short(row["memory_ratio"])
    return f"{float(row['memory_mib']):.0f} MiB" if row["memory_mib"] else ""


def floor_cell(row: Row) -> str:
    """The floor in forward passes, and the share of the time that it is."""
    if not row["floor"]:
        return ""
    return f"{short(row['floor'])} ({100 * float(row['fraction']):.0f} %)"


def forward_lines(rows: Sequence[Row]) -> list[str]:
    """What a forward pass takes, by model and batch."""
    models = [m for m in MODELS if any(row["model"] == m for row in rows)]
    batches = sorted({int(row["batch"]) for row in rows})
    lines = []
    for batch in batches:
        cells = []
        for model in models:
            times = [
                float(row["forward_seconds"]) for row in rows
                if (row["model"], row["batch"]) == (model, str(batch)) and row["forward_seconds"]
            ]  # fmt: skip
            cells.append(short(str(1000 * sorted(times)[len(times) // 2])) if times else "-")
        lines.append([f"batch {batch}", *cells])
    return table(["milliseconds", *map(escape, models)], lines)


def scaling_lines(scaling: Sequence[Row]) -> list[str]:
    """Exponents with standard errors, rules down, axes across."""
    lines = [
        [label, *(_exponent(fit(scaling, axis, rule, column)) for axis in AXES)]
        for label, rule, column in _timed(SCALED)
    ]
    heads = [f"{'pixels' if axis == 'side' else axis}{_range(scaling, axis)}" for axis in AXES]
    return table(["exponent of", *heads], lines)


def batch_exponents(rows: Sequence[Row]) -> list[str]:
    """Exponents of batch by network, for those that were timed at three sizes or more.

    Args:
        rows: Of ``speed.csv``.
    """
    timed = [row for row in rows if row["seconds"] and not row["failure"]]
    found = {
        model: [row for row in timed if row["model"] == model]
        for model in MODELS
        if len({row["batch"] for row in timed if row["model"] == model}) > 2
    }
    lines = []
    for label, name, column in _timed(("gradient", *SCALED)):
        of_method = [[row for row in own if row["method"] == name] for own in found.values()]
        lines.append([label, *(_exponent(fit_rows(own, "batch", column)) for own in of_method)])
    heads = [
        f"{escape(model)} (to {max(int(r['batch']) for r in own)})" for model, own in found.items()
    ]
    return table(["exponent of batch", *heads], lines) if found else []


def failure_lines(rows: Sequence[Row]) -> list[str]:
    """Everything that has no time, with its reason in full."""
    return [
        f"- {escape(row['model'])}, batch {row['batch']}, {escape(METHODS[row['method']].label)}: "
        f"{escape(row['failure'])}"
        for row in rows
        if row["failure"] and row["method"] in METHODS
    ]


def _timed(methods: Sequence[str]) -> list[tuple[str, str, str]]:
    """Label, method and column of a forward pass beside the first rule, and of some methods."""
    rows = [(escape(METHODS[name].label), name, "seconds") for name in methods]
    return [("a forward pass", SCALED[0], "forward_seconds"), *rows]


def _exponent(found: Fit | None) -> str:
    return f"{found.exponent:.2f} ± {found.error:.2f}" if found else "-"


def _range(scaling: Sequence[Row], axis: str) -> str:
    sizes = [int(row["size"]) for row in scaling if row["axis"] == axis and not row["failure"]]
    return f" ({min(sizes)} to {max(sizes)})" if sizes else ""
