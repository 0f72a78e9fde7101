"""The figures to reach, as data, and whether they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from benchmarks.results import Row
from benchmarks.speed.limits import OVER
from benchmarks.speed.methods import METHODS
from benchmarks.speed.scaling import SCALED, fit

BATCH = 2
FAST = ("proportional", "uniform", "softmax_neg_abs", "softmax_neg_abs_cold")
HARD = ("vgg11", "resnet50", "efficientnet_lite0")
Verdict = Literal["met", "NOT met", "not measured"]


@dataclass(frozen=True)
class Goal:
    """A column of one cell that should be small, or an exponent that should be 1.

    Attributes:
        column: ``ratio``, ``memory_ratio`` or ``exponent``.
        methods: Of which the worst counts.
        where: The model, or the axis of scaling.
        most: The largest figure that will do; for an exponent, the largest distance from 1.
    """

    column: Literal["ratio", "memory_ratio", "exponent"]
    methods: tuple[str, ...]
    where: str
    most: float

    @property
    def title(self) -> str:
        """What is asked."""
        labels = ", ".join(METHODS[m].label for m in self.methods)
        match self.column:
            case "ratio":
                return f"{labels}: {self.where}, batch {BATCH}"
            case "memory_ratio":
                return f"peak memory, worst of {labels}: {self.where}, batch {BATCH}"
        return f"{labels}: exponent of {'pixels' if self.where == 'side' else self.where}"

    @property
    def asked(self) -> str:
        """The figure asked for, with its unit."""
        match self.column:
            case "ratio":
                return f"at most {self.most:g} forward passes"
            case "memory_ratio":
                return f"at most {self.most:g} times forward + backward"
        return f"1 ± {self.most:g}"


@dataclass(frozen=True)
class Reached:
    """What came of a goal.

    Attributes:
        got: The figure, or why there is none.
        verdict: Whether that will do.
    """

    got: str
    verdict: Verdict


GOALS: tuple[Goal, ...] = (
    Goal("ratio", ("softmax_neg_abs",), "vgg11", 15),
    Goal("ratio", ("softmax_neg_abs",), "resnet50", 25),
    Goal("ratio", ("softmax_neg_abs",), "efficientnet_lite0", 25),
    *(Goal("ratio", ("proportional",), model, 5) for model in HARD),
    *(Goal("ratio", ("uniform",), model, 4) for model in HARD),
    *(Goal("ratio", ("softmax_neg_abs_cold",), model, 60) for model in HARD),
    *(Goal("memory_ratio", FAST, model, 3) for model in HARD),
    *(Goal("exponent", (rule,), axis, 0.1) for rule in SCALED for axis in ("batch", "side")),
)


def reached(goal: Goal, rows: Sequence[Row], scaling: Sequence[Row]) -> Reached:
    """Hold the results against a goal.

    Args:
        goal: One of `GOALS`.
        rows: Of ``speed.csv``.
        scaling: Of ``scaling.csv``.
    """
    if goal.column == "exponent":
        return _exponent(goal, scaling)
    figures = []
    for method in goal.methods:
        key = (goal.where, str(BATCH), method)
        row = next((r for r in rows if (r["model"], r["batch"], r["method"]) == key), None)
        if row is None:
            return Reached("-", "not measured")
        if not row[goal.column]:
            return _missing(row)
        figures.append((float(row[goal.column]), method))
    worst, method = max(figures)
    note = f" ({METHODS[method].label})" if len(figures) > 1 else ""
    return Reached(f"{worst:.3g}{note}", "met" if worst <= goal.most else "NOT met")


def _missing(row: Row) -> Reached:
    """A figure that should be in a row and is not."""
    if not row["failure"]:
        return Reached("-", "not measured")
    return Reached(OVER if row["failure"].startswith(OVER) else row["failure"], "NOT met")


def _exponent(goal: Goal, scaling: Sequence[Row]) -> Reached:
    found = fit(scaling, goal.where, goal.methods[0])
    if found is None:
        return Reached("-", "not measured")
    close = abs(found.exponent - 1) <= goal.most
    got = f"{found.exponent:.2f} ± {found.error:.2f}"
    return Reached(got, "met" if close else "NOT met")
