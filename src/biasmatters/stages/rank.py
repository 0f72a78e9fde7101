"""Stage rank: which methods really differ, metric by metric, on the pictures they share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from biasmatters.stages.maps import read_maps
from biasmatters.stages.rows import write_versus
from biasmatters.stages.score import SCORES
from biasmatters.stages.source import Source
from biasmatters.stages.spec import MethodSpec, MetricSpec
from biasmatters.types import Versus


@dataclass(frozen=True)
class Rank:
    """Compares all methods on one data set and origin, pair by pair.

    Attributes:
        experiment: Name of the experiment.
        source: The data.
        normalization: Scaling of the inputs.
        roles: Whose scores each input holds; several seeds of a method are averaged per picture.
        metrics: What was measured.
    """

    experiment: str
    source: Source
    normalization: str
    roles: Mapping[str, MethodSpec]
    metrics: tuple[MetricSpec, ...]

    stage = "rank"
    version = 1
    resumable = False

    def slug(self) -> str:
        """Experiment, data, normalisation, model."""
        spec = self.source.spec
        return f"{self.experiment}-{spec.name}-{self.normalization}-{spec.model.name}"

    def settings(self) -> dict[str, Any]:
        """What the comparison depends on besides its inputs."""
        return {
            "experiment": self.experiment,
            "methods": {role: [m.method, m.rule] for role, m in self.roles.items()},
            "better": {metric.name: metric.better for metric in self.metrics},
        }

    def run(self, folder: Path, inputs: Mapping[str, Path]) -> None:
        """Read all inputs' scores, write one row a pair and metric."""
        found: dict[str, dict[tuple[str, str], list[Tensor]]] = {}
        for role, method in self.roles.items():
            for name, values in read_maps(inputs[role] / SCORES).items():
                key = method.method, method.rule
                found.setdefault(name, {}).setdefault(key, []).append(values)
        found.pop("image")
        rows = [row for name, by in found.items() if len(by) > 1 for row in self._pairs(name, by)]
        write_versus(folder, rows)

    def _pairs(self, figure: str, by: Mapping[tuple[str, str], list[Tensor]]) -> Iterator[Versus]:
        from biasmatters.metrics.functional import compare_methods

        better = self._better(figure)
        if not better:
            return
        names = {f"{method}\n{rule}": (method, rule) for method, rule in by}
        means = {n: torch.stack(by[key]).double().mean(0) for n, key in names.items()}
        defined = torch.stack(list(means.values())).isfinite().all(0)
        if figure.count("/") > 1 or int(defined.sum()) < 2:
            return
        means = {name: values[defined] for name, values in means.items()}
        compared = compare_methods(means, higher_is_better=better == "high")
        spec = self.source.spec
        for pair in compared.pairs:
            first, second = names[pair.first], names[pair.second]
            yield Versus(
                experiment=self.experiment,
                data=spec.name,
                normalization=self.normalization,
                model=spec.model.name,
                metric=figure,
                first_method=first[0],
                first_rule=first[1],
                second_method=second[0],
                second_rule=second[1],
                difference=pair.value,
                low=pair.low,
                high=pair.high,
                p_value=pair.p_value,
                n=len(next(iter(means.values()))),
                stage="",
            )

    def _better(self, figure: str) -> str:
        """Which way is better for a figure of one of the metrics."""
        for metric in self.metrics:
            if figure == metric.name or figure.startswith(
                (f"{metric.name}_auc", f"{metric.name}/")
            ):
                return metric.better
        return ""
