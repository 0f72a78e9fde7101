"""The mirror in Weights & Biases: configuration, figures, curves and pictures of a run."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import wandb

from biasmatters.tracking.tracker import StageLike
from biasmatters.types import BiasmattersError, Result, Versus

# Keys of the configuration that say something about a person's machine rather than the run.
PRIVATE = ("root", "cache", "store", "reports", "folder", "entity")


class TrackingError(BiasmattersError):
    """The mirror cannot be set up."""


class WandbTracker:
    """Follows one run.

    Args:
        settings: ``mode`` (offline or online), ``project``, ``entity``, ``folder``.
        name: Name of the run.
        config: The run's configuration.

    Raises:
        TrackingError: W&B refuses to start, for instance online without a login.
    """

    def __init__(self, settings: Mapping[str, Any], name: str, config: Mapping[str, Any]) -> None:
        folder = Path(settings["folder"])
        folder.mkdir(parents=True, exist_ok=True)
        try:
            self.run = wandb.init(
                mode=settings["mode"],
                project=settings["project"],
                entity=settings["entity"],
                dir=os.fspath(folder),
                name=name,
                config=_public(config),
                settings=_quiet(),
            )
        except (wandb.errors.Error, OSError) as error:
            raise TrackingError(
                f"Weights & Biases did not start: {error}. Log in with `wandb login`, or stay "
                "offline with logger.mode=offline and upload later with `make wandb-sync`."
            ) from error

    def stage(self, entry: StageLike) -> None:
        """Log time and, of a training, the curve."""
        key = f"{entry.folder.parent.name}/{entry.folder.name}"
        self.run.summary[f"seconds/{key}"] = entry.seconds
        curves = entry.folder / "curves.csv"
        if curves.exists():
            with curves.open(encoding="utf-8", newline="") as file:
                head, *lines = csv.reader(file)
            values = [[_number(cell) for cell in line] for line in lines]
            self.run.log({f"curves/{entry.folder.name}": _table(head, values)})

    def report(
        self, folder: Path, results: Sequence[Result], versus: Sequence[Versus] = ()
    ) -> None:
        """Log all figures, and the report's pictures and page."""
        self.run.log({"results": _long(Result, results)})
        if versus:
            self.run.log({"versus": _long(Versus, versus)})
        self.run.log(_plots(results))
        for result in results:
            if result.at is None:
                self.run.summary[_label(result)] = result.value
        for metric, values in _by_metric(results).items():
            self.run.summary[f"mean/{metric}"] = sum(values) / len(values)
        pictures = {
            f"report/{path.stem}": wandb.Image(os.fspath(path))
            for path in sorted((folder / "figures").glob("*.png"))
        }
        page = {"report/index": wandb.Html(os.fspath(folder / "index.html"), inject=False)}
        self.run.log({**pictures, **page})

    def close(self, failed: bool) -> None:
        """Finish the run."""
        self.run.finish(exit_code=1 if failed else 0)


def _quiet() -> wandb.Settings:
    """Nothing about the machine, the code or the console is recorded."""
    return wandb.Settings(
        console="off",
        silent=True,
        host="hidden",
        disable_git=True,
        disable_code=True,
        save_code=False,
        x_disable_stats=True,
        x_disable_meta=True,
        x_disable_machine_info=True,
    )


def _public(node: Any) -> Any:
    """The configuration without what belongs to a machine or a person."""
    if isinstance(node, Mapping):
        return {key: _public(value) for key, value in node.items() if key not in PRIVATE}
    return node


def _label(result: Result) -> str:
    parts = [result.data, result.normalization, "bias" if result.bias else "nobias"]
    parts += [part for part in (result.method, result.rule) if part]
    return "/".join([*parts, f"s{result.seed}", result.metric])


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> wandb.Table:
    return wandb.Table(columns=list(head), data=list(rows))


def _long(kind: type[Result | Versus], rows: Sequence[Result | Versus]) -> wandb.Table:
    """Rows in long format."""
    names = [field.name for field in fields(kind)]
    return _table(names, [[row[name] for name in names] for row in map(asdict, rows)])


def _plots(results: Sequence[Result]) -> dict[str, Any]:
    """Every curve as a line plot of W&B: one line a method, by network and metric."""
    lines: dict[str, dict[str, dict[float, float]]] = {}
    for row in results:
        if row.at is not None and row.method:
            place = f"plots/{row.data}/{row.normalization}/s{row.seed}/{row.metric}"
            method = f"{row.method} {row.rule}".strip()
            lines.setdefault(place, {}).setdefault(method, {})[row.at] = row.value
    return {
        place: wandb.plot.line_series(
            xs=[list(line) for line in by.values()],
            ys=[list(line.values()) for line in by.values()],
            keys=list(by),
            title=place.rpartition("/")[2],
            xname="share of pixels",
        )
        for place, by in lines.items()
    }


def _by_metric(results: Sequence[Result]) -> dict[str, list[float]]:
    """Values by metric, for the one figure that a sweep sorts its runs by."""
    found: dict[str, list[float]] = {}
    for result in results:
        if result.at is None:
            found.setdefault(result.metric, []).append(result.value)
    return found


def _number(cell: str) -> str | float | None:
    if cell == "":
        return None
    try:
        return float(cell)
    except ValueError:
        return cell
