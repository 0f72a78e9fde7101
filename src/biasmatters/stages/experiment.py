"""Run an experiment: what is finished stays, what is missing is made."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from biasmatters.data.errors import ChecksumError, DataNotFoundError
from biasmatters.stages.plan import Plan, make_plan
from biasmatters.stages.publish import publish
from biasmatters.stages.rank import Rank
from biasmatters.stages.rows import read_rows, read_versus
from biasmatters.stages.source import Source
from biasmatters.stages.spec import ExperimentSpec
from biasmatters.stages.store import Entry, Store
from biasmatters.types import Result, Versus

log = logging.getLogger(__name__)

Listener = Callable[[Entry], None]


@dataclass(frozen=True)
class Outcome:
    """What a run left behind.

    Attributes:
        page: The report to open.
        entries: All finished stages, in the order of the plan.
        results: All result rows.
        versus: All comparisons of methods.
        missing: Data sets that could not be had, and why.
    """

    page: Path
    entries: tuple[Entry, ...]
    results: tuple[Result, ...]
    versus: tuple[Versus, ...]
    missing: dict[str, str]

    @property
    def made(self) -> tuple[Entry, ...]:
        """The stages that this run made."""
        return tuple(entry for entry in self.entries if not entry.cached)


def run_experiment(spec: ExperimentSpec, listener: Listener | None = None) -> Outcome:
    """Make every stage that is not in the store, and publish the report.

    Args:
        spec: What to do.
        listener: Told of every finished stage, cached ones included.

    Raises:
        StoreError: The store cannot be written to.
        BiasmattersError: A stage failed; its text says what to do.
    """
    sources, missing = _find_data(spec)
    plan = make_plan(spec, sources, missing)
    entries = _run(plan, Store(spec.store), listener)
    table = plan.report.inputs["table"]
    ranks = [task for task in plan.report.inputs.values() if task.stage == Rank.stage]
    page = publish(entries[plan.report.digest], spec.reports / spec.name, spec.config)
    return Outcome(
        page=page,
        entries=tuple(entries.values()),
        results=tuple(read_rows(entries[table.digest].folder)),
        versus=tuple(v for task in ranks for v in read_versus(entries[task.digest].folder)),
        missing=missing,
    )


def _find_data(spec: ExperimentSpec) -> tuple[list[Source], dict[str, str]]:
    """The data sets that are there, and why the others are not."""
    sources, missing = [], {}
    for data in spec.data:
        source = Source(data, spec.normalizations[0])
        try:
            log.info("data %s: %s", data.name, source.about["source"])
            sources.append(source)
        except (DataNotFoundError, ChecksumError) as error:
            log.warning("data %s: not run: data not available: %s", data.name, error)
            missing[data.name] = str(error)
    return sources, missing


def _run(plan: Plan, store: Store, listener: Listener | None) -> dict[str, Entry]:
    entries: dict[str, Entry] = {}
    tasks = plan.tasks()
    for number, task in enumerate(tasks, 1):
        inputs = {role: entries[parent.digest] for role, parent in task.inputs.items()}
        label = f"[{number}/{len(tasks)}] {task.stage} {task.key}"
        entry = store.find(task, inputs)
        if entry is None:
            log.info("%s", label)
            entry = store.get(task, inputs)
            log.info("    done in %.1f s", entry.seconds)
        else:
            log.info("%s: cached", label)
        entries[task.digest] = entry
        plan.timings.append((f"{task.stage}/{task.key}", entry.seconds, entry.cached))
        if listener is not None:
            listener(entry)
    return entries
