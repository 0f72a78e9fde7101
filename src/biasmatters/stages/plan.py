"""From the description of an experiment to the tasks that make its report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from biasmatters.stages.ablate import Ablate
from biasmatters.stages.attribute import Attribute
from biasmatters.stages.compare import Compare
from biasmatters.stages.report import Report, Sheet, Timing
from biasmatters.stages.score import Score
from biasmatters.stages.source import Source
from biasmatters.stages.spec import ExperimentSpec, MethodSpec
from biasmatters.stages.task import Task
from biasmatters.stages.train import Train


@dataclass(frozen=True)
class Plan:
    """What is to be done: the last task, whose ancestors are all the others."""

    report: Task
    timings: list[Timing]

    def tasks(self) -> list[Task]:
        """All tasks, each after those that it reads from."""
        return list(self.report.ancestors())


def make_plan(spec: ExperimentSpec, sources: Sequence[Source], missing: Mapping[str, str]) -> Plan:
    """Tasks for every data set that is there.

    Args:
        spec: The experiment.
        sources: The data sets that could be had.
        missing: Why each of the others could not.
    """
    rows: dict[str, Task] = {}
    maps: dict[str, Task] = {}
    sheets: list[Sheet] = []
    for source, normalization, seed in product(sources, spec.normalizations, spec.seeds):
        network = _network(spec, source, normalization, seed, bias=True)
        if spec.table1:
            pair = {
                "with_bias": network,
                "without_bias": _network(spec, source, normalization, seed, bias=False),
            }
            work = Ablate(source, normalization, seed, spec.trainer)
            ablation = Task(work, pair, source.fingerprint)
            rows[_role(ablation)] = ablation
        if normalization not in spec.explained:
            continue
        roles: dict[str, MethodSpec] = {}
        for method, attribution, score in _methods(spec, source, normalization, seed, network):
            rows[_role(score)] = score
            maps[_role(attribution)] = attribution
            roles[_role(attribution)] = method
        if roles and seed == spec.seeds[0]:
            sheets.append(Sheet(source, normalization, roles))
    return _finish(spec, rows, maps, sheets, sources, missing)


def _network(
    spec: ExperimentSpec, source: Source, normalization: str, seed: int, *, bias: bool
) -> Task:
    training = Train(source, normalization, bias, seed, spec.trainer)
    return Task(training, data=source.fingerprint)


def _methods(
    spec: ExperimentSpec, source: Source, normalization: str, seed: int, network: Task
) -> Iterator[tuple[MethodSpec, Task, Task]]:
    for method in spec.methods:
        explain = Attribute(
            source=source,
            normalization=normalization,
            seed=seed,
            method=method,
            images=spec.images,
            chunk=spec.chunk,
            batch_size=spec.explain_batch_size,
            trainer=spec.trainer,
        )
        attribution = Task(explain, {"network": network}, source.fingerprint)
        scoring = Score(source, normalization, seed, method, spec.curves, spec.trainer)
        inputs = {"network": network, "maps": attribution}
        yield method, attribution, Task(scoring, inputs, source.fingerprint)


def _finish(
    spec: ExperimentSpec,
    rows: dict[str, Task],
    maps: dict[str, Task],
    sheets: list[Sheet],
    sources: Sequence[Source],
    missing: Mapping[str, str],
) -> Plan:
    timings: list[Timing] = []
    keys = {role: f"{task.stage}/{task.key}" for role, task in rows.items()}
    table = Task(Compare(spec.name, keys), rows)
    report = Report(
        experiment=spec.name,
        title=spec.title,
        scale=spec.scale,
        seeds=spec.seeds,
        sheets=tuple(sheets),
        sheet_images=spec.sheet_images,
        missing=tuple(missing.items()),
        notes={source.spec.name: _note(source) for source in sources},
        timings=timings,
    )
    return Plan(Task(report, {"table": table, **maps}), timings)


def _note(source: Source) -> str:
    note = source.about["note"]
    return f"{source.about['source']} ({note})" if note else source.about["source"]


def _role(task: Task) -> str:
    return f"{task.stage}-{task.key}"
