"""The command: measures what is missing in the results files, then writes table and plot."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.fork import single_threaded
from benchmarks.host import facts
from benchmarks.results import Results, Row
from benchmarks.speed.cell import COLUMNS, cell_rows
from benchmarks.speed.document import render
from benchmarks.speed.goals import GOALS, reached
from benchmarks.speed.options import Options, read_options
from benchmarks.speed.plot import shown_batch, speed_figure
from benchmarks.speed.scaling import AXES, axis_rows, shapes
from benchmarks.speed.scaling import COLUMNS as SCALING_COLUMNS
from benchmarks.speed.table import count
from biasmatters.reporting.style import png

PACKAGES = ("torch", "torchvision", "captum", "zennit", "biasmatters")
COMPILES = {"cpu": "numba", "cuda": "triton"}


def main(arguments: Sequence[str]) -> int:
    """Measure and write; 0 whether or not the goals are met."""
    options = read_options(arguments, single_threaded())
    results = Results(options.file("speed.csv"), COLUMNS)
    scaling = Results(options.file("scaling.csv"), SCALING_COLUMNS)
    if options.again:
        results.forget(lambda row: _wanted(options, row))
        if options.scaling:
            scaling.forget(lambda row: row["axis"] in AXES)
    _measure(options, results, scaling)
    _write(options, results.read(), scaling.read(), arguments)
    return 0


def _wanted(options: Options, row: Row) -> bool:
    return (
        row["model"] in options.models
        and row["method"] in options.methods
        and int(row["batch"]) in options.batches
    )


def _measure(options: Options, results: Results, scaling: Results) -> None:
    """Three plain loops: batches, models, and the axes of scaling."""
    done = {(row["model"], row["batch"], row["method"]) for row in results.read()}
    cells = [
        (model, batch, missing)
        for batch in options.batches
        for model in options.models
        if (missing := [m for m in options.methods if (model, str(batch), m) not in done])
    ]
    known = {row["axis"] for row in scaling.read()}
    axes = [axis for axis in AXES if options.scaling and axis not in known]
    bars = (TextColumn("{task.description:32}"), BarColumn(), MofNCompleteColumn())
    # No refreshing thread: the children are forks of this process.
    with Progress(*bars, TimeElapsedColumn(), auto_refresh=False) as progress:
        task = progress.add_task("speed", total=len(cells) + len(axes))
        for model, batch, missing in cells:
            progress.update(task, description=f"{model}, batch {batch}", refresh=True)
            rows = cell_rows(options.limits, model, batch, missing)
            results.append(*rows)
            progress.console.print(_summary(rows), highlight=False, markup=False)
            progress.update(task, advance=1, refresh=True)
        for axis in axes:
            progress.update(task, description=f"scaling, {axis}", refresh=True)
            scaling.append(*axis_rows(options.limits, axis, shapes(axis)))
            progress.update(task, advance=1, refresh=True)


def _summary(rows: Sequence[Row]) -> str:
    """One line for a cell."""
    figures = [f"{row['method']} {row.get('ratio') or row.get('failure')}" for row in rows]
    return f"{rows[0]['model']}, batch {rows[0]['batch']}: {'; '.join(figures)}"


def _write(options: Options, rows: list[Row], scaling: list[Row], arguments: Sequence[str]) -> None:
    device = ", ".join(sorted({row["device"] for row in rows}))
    limits = options.limits
    packages = (*PACKAGES, COMPILES[limits.device])
    origin = facts("benchmarks.speed", arguments, limits.threads, packages)
    origin.append(("device", device))
    budget = f"{limits.rounds} rounds at most, {limits.budget:g} s for each method in each cell"
    origin.append(("measured with", budget))
    origin += [("note", note) for note in options.note]
    batch, plot = shown_batch(rows), options.file("speed.png")
    options.out.mkdir(parents=True, exist_ok=True)
    if batch is not None:
        where = f"threads: {limits.threads}" if limits.device == "cpu" else device
        plot.write_bytes(png(speed_figure(rows, batch, where)))
    document = options.file("speed.md")
    document.write_text(render(rows, scaling, origin, plot.name if batch is not None else ""))
    verdict = count([reached(goal, rows, scaling) for goal in GOALS])
    Console().print(f"{verdict} See {document}", highlight=False, markup=False)


if __name__ == "__main__":
    # Asked to stop, it ends its children too; what is measured stays in the results files.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main(sys.argv[1:]))
