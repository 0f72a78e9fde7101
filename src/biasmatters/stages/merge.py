"""The jobs of a multirun on one page."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from biasmatters.stages.environment import environment
from biasmatters.stages.experiment import Outcome
from biasmatters.stages.files import swap_in
from biasmatters.stages.spec import ExperimentSpec
from biasmatters.types import Result


def merge_reports(specs: Sequence[ExperimentSpec], outcomes: Sequence[Outcome]) -> Path:
    """Publish the rows of several jobs as ``reports/<experiment>/all/``.

    Args:
        specs: The jobs, named ``<experiment>/<variant>``.
        outcomes: What each of them left.

    Returns:
        The page to open.
    """
    from biasmatters.reporting import ReportContent, write_report

    name = specs[0].name.partition("/")[0]
    rows = {replace(row, experiment=name): None for outcome in outcomes for row in outcome.results}
    content = ReportContent(
        title=specs[0].title.partition(":")[0],
        results=list[Result](rows),
        sheets=[],
        environment={**environment(), "scale": specs[0].scale},
        timings=[
            (f"{entry.task.stage}/{entry.task.key}", entry.seconds, entry.cached)
            for outcome in outcomes
            for entry in outcome.entries
        ],
        missing=list({name: why for o in outcomes for name, why in o.missing.items()}.items()),
    )
    place = specs[0].reports / name / "all"
    new = place.with_name(".new-all")
    shutil.rmtree(new, ignore_errors=True)
    write_report(new, content)
    swap_in(new, place)
    return place / "index.html"
