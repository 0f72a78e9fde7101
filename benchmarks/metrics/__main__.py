"""The command: measures what is missing in the results file, then writes the page."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from benchmarks.fork import single_threaded
from benchmarks.host import facts
from benchmarks.metrics.cases import CASES
from benchmarks.metrics.document import render, verdict
from benchmarks.metrics.measure import (
    COLUMNS,
    MEMORY_SCENES,
    memory_name,
    memory_row,
    timed_rows,
)
from benchmarks.results import Results, Row

PACKAGES = ("torch", "torchvision", "quantus", "biasmatters")
QUICK_OUT = Path("reports/metrics-quick")


def main(arguments: Sequence[str]) -> int:
    """Measure and write; 0 whether or not the goals are met."""
    found = _parser().parse_args(arguments)
    quick: bool = found.quick
    rounds: int = found.rounds or (2 if quick else 5)
    out: Path = found.out or (QUICK_OUT if quick else Path(__file__).parent)
    threads = single_threaded()
    results = Results(out / "metrics.csv", COLUMNS)
    if found.again:
        results.forget(lambda _: True)
    console = Console(highlight=False, markup=False)
    _measure(results, console, rounds, threads, quick)
    # Where the page goes is no part of what was measured.
    settings = ["--rounds", str(rounds), *(["--quick"] if quick else [])]
    origin = facts("benchmarks.metrics", settings, threads, PACKAGES)
    origin += [("note", note) for note in found.note]
    page = out / "metrics.md"
    page.write_text(render(results.read(), origin))
    console.print(f"See {page}")
    return 0


def _measure(results: Results, console: Console, rounds: int, threads: int, quick: bool) -> None:
    done = {(row["case"], row["scene"]) for row in results.read()}
    missing = [case for case in CASES if (case.name, case.scene) not in done]
    for scene in dict.fromkeys(case.scene for case in missing):
        cases = [case for case in missing if case.scene == scene]
        _keep(results, console, timed_rows(cases, rounds, threads, quick=quick))
    for scene in MEMORY_SCENES:
        if (memory_name(), scene) not in done:
            _keep(results, console, [memory_row(scene, threads, quick=quick)])


def _keep(results: Results, console: Console, rows: Sequence[Row]) -> None:
    results.append(*rows)
    for row in rows:
        full = dict.fromkeys(COLUMNS, "") | row
        figures = full["failure"] or f"{full['seconds']} s, ratio {full['ratio']} {verdict(full)}"
        if full["memory_mib"]:
            figures = f"{full['memory_mib']} MiB"
        console.print(f"{full['case']}, {full['scene']}: {figures}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.metrics", description=__doc__)
    add = parser.add_argument
    add("--quick", action="store_true", help=f"few pictures and steps, into {QUICK_OUT}")
    add("--rounds", type=int, help="times that each metric is timed (5)")
    add("--out", type=Path, help="folder")
    add("--again", action="store_true", help="measure anew what the results file has")
    add("--note", action="append", default=[], help="a line for the page's head")
    return parser


if __name__ == "__main__":
    # Asked to stop, it ends its children too; what is measured stays in the results file.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main(sys.argv[1:]))
