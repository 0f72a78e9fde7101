"""The page, as a function of the rows."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.metrics.case import Case
from benchmarks.metrics.cases import CASES
from benchmarks.metrics.measure import MEMORY_METHODS, memory_name
from benchmarks.results import Row
from benchmarks.speed.markup import escape, short, table

HEAD = """# The metrics over bare forward passes

{facts}

Every model has random weights; pictures are 3 x 32 x 32 for ResNet-18 and 1 x 28 x 28 for the CNN.
A metric's *ratio* is its time divided by that of the forward passes that
it cannot do without, in the same batches: medians over rounds (quartiles), in each of which it
runs between two such sets of passes. *Passes* counts the pictures in them.
"""


def render(rows: Sequence[Row], origin: Sequence[tuple[str, str]]) -> str:
    """The whole page.

    Args:
        rows: Of the results file.
        origin: Facts on where the figures come from.
    """
    facts = "\n".join(f"- {name}: {value}" for name, value in origin)
    parts = [HEAD.format(facts=facts), *times(rows), *memory(rows)]
    failed = [
        f"- {escape(row['case'])}: {escape(row['failure'])}" for row in rows if row["failure"]
    ]
    return "\n".join([*parts, *(["## Failures", "", *failed, ""] if failed else [])])


def times(rows: Sequence[Row]) -> list[str]:
    """The table of times."""
    found = {row["case"]: row for row in rows}
    lines = [_line(case, found[case.name]) for case in CASES if case.name in found]
    head = ["metric", "model", "pictures", "steps", "passes", "seconds", "bare passes, seconds"]
    return table([*head, "ratio", "goal"], lines)


def _line(case: Case, row: Row) -> list[str]:
    start = [case.name, case.scene.partition(",")[0], row["pictures"], row["steps"]]
    if row["failure"]:
        return [*start, "-", "-", "-", "failed", ""]
    ratio = short(row["ratio"])
    if row["low"] != row["high"]:
        ratio += f" ({short(row['low'])}–{short(row['high'])})"  # noqa: RUF001
    figures = [row["passes"], short(row["seconds"]), short(row["forward_seconds"])]
    return [*start, *figures, ratio, verdict(row)]


def verdict(row: Row) -> str:
    """Whether a case's goal is met."""
    goal = next((case.goal for case in CASES if case.name == row["case"]), None)
    if goal is None:
        return ""
    asked = f"{goal.column} at most {goal.most:g}"
    return f"{asked}: {'met' if float(row[goal.column]) <= goal.most else '**NOT met**'}"


def memory(rows: Sequence[Row]) -> list[str]:
    """The table of memory."""
    known = [row for row in rows if row["case"] == memory_name() and row["memory_mib"]]
    lines = [[row["pictures"], row["steps"], short(row["memory_mib"])] for row in known]
    text = (
        f"Peak memory above the pictures and the maps: deletion and insertion of {MEMORY_METHODS} "
        "methods at once with the CNN, in batches of the default size."
    )
    return [text, "", *table(["pictures", "steps", "MiB"], lines)] if lines else []
