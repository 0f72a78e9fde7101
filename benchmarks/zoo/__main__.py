"""The command: measures what is missing in the results file, then writes the table."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.fork import single_threaded
from benchmarks.host import facts
from benchmarks.results import Results, Row
from benchmarks.zoo.catalogue import catalogue, pick
from benchmarks.zoo.plan import Plan
from benchmarks.zoo.results import COLUMNS, succeeded
from benchmarks.zoo.table import render

PACKAGES = ("torch", "torchvision", "timm", "captum", "zennit", "biasmatters")


def main(arguments: Sequence[str]) -> int:
    """Measure and write; 1 if a model does not pass."""
    options = _parser().parse_args(arguments)
    # Asked to stop, it ends its children too; what is measured stays in the results file.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    threads = single_threaded()
    results = Results(options.out / "zoo.csv", COLUMNS)
    names = pick(_names(options.models), options.only)
    if options.again:
        results.forget(lambda row: row["model"] in names and not succeeded(row))
    plan = Plan(
        peers=options.peers,
        max_connections=options.max_connections,
        timeout=options.timeout,
        peer_timeout=options.peer_timeout,
        threads=threads,
    )
    done = {row["model"] for row in results.read()}
    _measure(plan, [name for name in names if name not in done], results)
    rows = results.read()
    origin = facts("benchmarks.zoo", arguments, threads, PACKAGES)
    origin += [("note", note) for note in options.note]
    (options.out / "zoo.md").write_text(render(rows, origin))
    failed = [row["model"] for row in rows if not succeeded(row)]
    console = Console()
    console.print(f"{len(rows) - len(failed)} of {len(rows)} models pass: {options.out}/zoo.md")
    return 1 if failed else 0


def _measure(plan: Plan, names: Sequence[str], results: Results) -> None:
    columns = (
        TextColumn("{task.description:44}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    # No refreshing thread: the children are forks of this process.
    with Progress(*columns, auto_refresh=False) as progress:
        task = progress.add_task("zoo", total=len(names))
        for name in names:
            progress.update(task, description=name, refresh=True)
            row = plan.row(name)
            results.append(row)
            progress.console.print(_verdict(row), highlight=False)
            progress.update(task, advance=1, refresh=True)


def _verdict(row: Row) -> str:
    if succeeded(row):
        return f"{row['model']}: {row['affine_verdict']}, residual {row['affine_residual']}"
    reasons = [
        f"{key} {value}" for key, value in row.items()
        if value and not key.startswith(("captum", "zennit", "fullgrad"))
        and (key.endswith("failure") or (key.endswith("passed") and value != "True"))
    ]  # fmt: skip
    return f"[red]{row['model']}[/]: " + "; ".join(reasons).replace("[", "\\[")


def _names(wanted: Sequence[str]) -> list[str]:
    """The catalogue, or the names given, or those in a file, one a line."""
    if not wanted:
        return catalogue()
    names: list[str] = []
    for item in wanted:
        path = Path(item)
        names += path.read_text().split() if path.is_file() else [item]
    return names


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.zoo", description=__doc__)
    parser.add_argument("--only", metavar="PATTERN", help="models that match, e.g. 'resnet*'")
    parser.add_argument("--models", nargs="*", default=(), help="library/name, or files of names")
    parser.add_argument("--max-connections", type=float, default=3e9, help="for softmax_neg_abs")
    parser.add_argument("--no-peers", dest="peers", action="store_false", help="only ours")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="folder")
    parser.add_argument("--timeout", type=float, default=1800, help="seconds for each part")
    parser.add_argument("--peer-timeout", type=float, default=120, help="seconds for each peer")
    parser.add_argument("--note", action="append", default=[], help="a line for the table's head")
    parser.add_argument("--again", action="store_true", help="measure anew what did not pass")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
