"""Run metrics over pictures, and turn what they find into result rows."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from biasmatters.stages.spec import DataSpec, MetricSpec, TrainerSpec
from biasmatters.stages.train import trainer_options
from biasmatters.types import Better, BiasmattersError, Result

if TYPE_CHECKING:
    from biasmatters.training import Measured


class MetricNeedsError(BiasmattersError):
    """A metric asks for something that this data set or method cannot give."""


@dataclass(frozen=True)
class Rows:
    """Makes result rows that share everything but the figure.

    Attributes:
        like: A row whose metric and figures are replaced.
    """

    like: Result

    @classmethod
    def of(
        cls,
        spec: DataSpec,
        normalization: str,
        seed: int,
        method: str = "",
        rule: str = "",
        bias: bool = True,
    ) -> Rows:
        """Rows of one network, or of one method on it."""
        return cls(
            Result(
                experiment="",
                data=spec.name,
                normalization=normalization,
                model=spec.model.name,
                bias=bias,
                method=method,
                rule=rule,
                metric="",
                seed=seed,
                value=math.nan,
                low=None,
                high=None,
                n=0,
                at=None,
                stage="",
            )
        )

    def row(self, metric: str, value: float, n: int, **more: Any) -> Result:
        """One figure."""
        return replace(self.like, metric=metric, value=value, n=n, **more)

    def interval(self, metric: str, values: Tensor, better: Better = "") -> Result:
        """The mean of ``(N,)`` where it is defined, with its bootstrap interval."""
        from biasmatters.metrics.functional import bootstrap_interval

        values = values[~values.isnan()]
        if not len(values):
            return self.row(metric, math.nan, 0, better=better)
        if len(values) < 2:
            return self.row(metric, float(values.double().mean()), len(values), better=better)
        found = bootstrap_interval(values.double())
        ends = {"low": found.low, "high": found.high}
        return self.row(metric, found.value, len(values), **ends, better=better)

    def intervals(self, figures: Mapping[str, Tensor], better: Better = "") -> Iterator[Result]:
        """As `interval`, of many figures; those that are defined everywhere share their draws."""
        from biasmatters.metrics.functional import bootstrap_band

        whole = {k: v.double() for k, v in figures.items() if len(v) > 1 and v.isfinite().all()}
        found: dict[str, Result] = {}
        if whole:
            band = bootstrap_band(torch.stack(list(whole.values()), 1))
            ends = zip(
                whole, band.value.tolist(), band.low.tolist(), band.high.tolist(), strict=True
            )
            for name, value, low, high in ends:
                found[name] = self.row(name, value, band.n, low=low, high=high, better=better)
        for name, values in figures.items():
            yield found[name] if name in found else self.interval(name, values, better)

    def curve(self, metric: str, fractions: Tensor, scores: Tensor) -> Iterator[Result]:
        """The mean of ``(N, points)`` curves with its band."""
        from biasmatters.metrics.functional import bootstrap_band

        if len(scores) < 2:
            for at, value in zip(fractions.tolist(), scores[0].tolist(), strict=True):
                yield self.row(metric, value, len(scores), at=at)
            return
        band = bootstrap_band(scores.double())
        points = zip(fractions, band.value, band.low, band.high, strict=True)
        for at, value, low, high in points:
            ends = {"low": float(low), "high": float(high), "at": float(at)}
            yield self.row(metric, float(value), len(scores), **ends)

    def measured(self, metric: MetricSpec, found: Measured) -> Iterator[Result]:
        """All rows of one metric."""
        yield from self.intervals(found.values, metric.better)
        if found.fractions is not None and found.scores is not None:
            whole = found.scores.isfinite().all(1)
            if bool(whole.any()):
                yield from self.curve(metric.name, found.fractions, found.scores[whole])


def measure(
    network: nn.Module,
    metrics: Sequence[MetricSpec],
    columns: Mapping[str, Tensor | None],
    trainer: TrainerSpec,
    label: str,
    **given: Any,
) -> dict[str, Measured]:
    """What each metric finds on all pictures.

    Args:
        network: In eval mode; its weights come back in another memory format.
        metrics: What to measure.
        columns: Tensors ``(N, ...)`` by name; None for what this data set does not have.
        trainer: Batch size and device.
        label: What the progress lines call this.
        given: Further things that metrics may need, by name.

    Raises:
        MetricNeedsError: A metric needs what is not there.
    """
    from biasmatters.metrics.functional import ConstantMapWarning
    from biasmatters.training import Columns, Measure, Score, joined, predict

    if not metrics:
        return {}
    there = {name: values for name, values in columns.items() if values is not None}
    _require({"model", *there, *given}, metrics, label)
    network.to(memory_format=torch.channels_last)  # as in training: convolutions are faster so
    measures = [Measure(m.name, m.part.make, m.needs, m.images, given) for m in metrics]
    with warnings.catch_warnings():
        # Said once, of all pictures together.
        warnings.simplefilter("ignore", ConstantMapWarning)
        batches = predict(
            Score(network, measures),
            Columns(there),
            batch_size=trainer.eval_batch_size,
            label=label,
            collate=lambda batch: batch,
            **trainer_options(trainer, devices=1),
        )
    return joined(batches)


def _require(there: set[str], metrics: Sequence[MetricSpec], label: str) -> None:
    for metric in metrics:
        missing = sorted(set(metric.needs) - there)
        if missing:
            raise MetricNeedsError(
                f"{label}: the metric {metric.name} needs {', '.join(missing)}, which is not to be "
                f"had here. Leave it out (metric=[...]), or choose data that has it; masks come "
                "with data=shapes."
            )


def usable(metrics: Sequence[MetricSpec], masks: bool) -> list[MetricSpec]:
    """The metrics that a data set with or without masks can be measured by."""
    return [metric for metric in metrics if masks or "masks" not in metric.needs]
