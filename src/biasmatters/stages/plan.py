"""From the description of an experiment to the tasks that make its report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product

from biasmatters.stages.ablate import Ablate
from biasmatters.stages.attribute import Attribute
from biasmatters.stages.compare import Compare
from biasmatters.stages.converge import Converge
from biasmatters.stages.pretrained import Pretrained
from biasmatters.stages.probe import Probe
from biasmatters.stages.rank import Rank
from biasmatters.stages.report import Report, Sheet, Timing
from biasmatters.stages.roar import Roar
from biasmatters.stages.score import Score
from biasmatters.stages.source import Source
from biasmatters.stages.spec import ExperimentSpec, MethodSpec
from biasmatters.stages.task import Task
from biasmatters.stages.train import Train
from biasmatters.stages.zoo import zoo_name


@dataclass(frozen=True)
class Plan:
    """What is to be done: the last task, whose ancestors are all the others."""

    report: Task
    timings: list[Timing]

    def tasks(self) -> list[Task]:
        """All tasks, each after those that it reads from."""
        return list(self.report.ancestors())


@dataclass
class _Gathered:
    """What the report reads from, by role.

    Attributes:
        rows: Tasks that leave result rows.
        maps: Tasks that leave maps.
        ranks: Tasks that leave comparisons of methods.
        sheets: Contact sheets of the maps.
    """

    rows: dict[str, Task] = field(default_factory=dict)
    maps: dict[str, Task] = field(default_factory=dict)
    ranks: dict[str, Task] = field(default_factory=dict)
    sheets: list[Sheet] = field(default_factory=list)

    def add(self, task: Task) -> None:
        """A task that leaves result rows."""
        self.rows[_role(task)] = task


def make_plan(spec: ExperimentSpec, sources: Sequence[Source], missing: Mapping[str, str]) -> Plan:
    """Tasks for every data set that is there.

    Args:
        spec: The experiment.
        sources: The data sets that could be had.
        missing: Why each of the others could not.
    """
    gathered = _Gathered()
    for source, normalization in product(sources, spec.normalizations):
        scores: dict[str, tuple[Task, MethodSpec]] = {}
        for seed in spec.seeds:
            network = _network(spec, source, normalization, seed, bias=True)
            for task in _of_network(spec, source, normalization, seed, network):
                gathered.add(task)
            if normalization not in spec.explained:
                continue
            roles: dict[str, MethodSpec] = {}
            for method, attribution, score in _methods(spec, source, normalization, seed, network):
                gathered.add(score)
                gathered.maps[_role(attribution)] = attribution
                roles[_role(attribution)] = method
                scores[_role(score)] = score, method
            if roles and seed == spec.seeds[0]:
                gathered.sheets.append(Sheet(source, normalization, roles))
        if rank := _rank(spec, source, normalization, scores):
            gathered.ranks[_role(rank)] = rank
    return _finish(spec, gathered, sources, missing)


def _network(
    spec: ExperimentSpec, source: Source, normalization: str, seed: int, *, bias: bool
) -> Task:
    if zoo_name(source.spec.model) is not None:
        return Task(Pretrained(source, normalization), data=source.fingerprint)
    training = Train(source, normalization, bias, seed, spec.trainer)
    return Task(training, data=source.fingerprint)


def _of_network(
    spec: ExperimentSpec, source: Source, normalization: str, seed: int, network: Task
) -> Iterator[Task]:
    """What is found out about a network besides its scored maps."""
    if spec.table1:
        without = _network(spec, source, normalization, seed, bias=False)
        pair = {"with_bias": network, "without_bias": without}
        yield Task(Ablate(source, normalization, seed, spec.trainer), pair, source.fingerprint)
    if normalization not in spec.explained:
        return
    inputs = {"network": network}
    if spec.network_metrics:
        probe = Probe(source, normalization, seed, spec.network_metrics, spec.trainer)
        yield Task(probe, inputs, source.fingerprint)
    for method in spec.methods:
        shared = source, normalization, seed, method
        if spec.convergence is not None:
            converge = Converge(*shared, spec.convergence, spec.trainer, spec.explain_batch_size)
            yield Task(converge, inputs, source.fingerprint)
        if spec.roar is not None:
            roar = Roar(*shared, spec.roar, spec.trainer, spec.explain_batch_size)
            yield Task(roar, inputs, source.fingerprint)


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
        scoring = Score(
            source=source,
            normalization=normalization,
            seed=seed,
            method=method,
            metrics=spec.method_metrics,
            trainer=spec.trainer,
            batch_size=spec.explain_batch_size,
        )
        inputs = {"network": network, "maps": attribution}
        yield method, attribution, Task(scoring, inputs, source.fingerprint)


def _rank(
    spec: ExperimentSpec,
    source: Source,
    normalization: str,
    scores: Mapping[str, tuple[Task, MethodSpec]],
) -> Task | None:
    """The comparison of all methods, if there are two and something to compare them by."""
    metrics = spec.method_metrics
    methods = {role: method for role, (_, method) in scores.items()}
    if not metrics or len({method.name for method in methods.values()}) < 2 or spec.images < 2:
        return None
    work = Rank(spec.name, source, normalization, methods, metrics)
    return Task(work, {role: task for role, (task, _) in scores.items()})


def _finish(
    spec: ExperimentSpec, found: _Gathered, sources: Sequence[Source], missing: Mapping[str, str]
) -> Plan:
    timings: list[Timing] = []
    keys = {role: f"{task.stage}/{task.key}" for role, task in found.rows.items()}
    table = Task(Compare(spec.name, keys), found.rows)
    report = Report(
        experiment=spec.name,
        title=spec.title,
        scale=spec.scale,
        seeds=spec.seeds,
        sheets=tuple(found.sheets),
        ranks=tuple(found.ranks),
        sheet_images=spec.sheet_images,
        missing=tuple(missing.items()),
        notes={source.spec.name: _note(source) for source in sources},
        timings=timings,
    )
    return Plan(Task(report, {"table": table, **found.maps, **found.ranks}), timings)


def _note(source: Source) -> str:
    note = source.about["note"]
    return f"{source.about['source']} ({note})" if note else source.about["source"]


def _role(task: Task) -> str:
    return f"{task.stage}-{task.key}"
