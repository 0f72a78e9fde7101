"""Stage score: curves, completeness and cost of one method's maps."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils.data import TensorDataset

from biasmatters.attribution import reduce_channels
from biasmatters.stages.attribute import COST
from biasmatters.stages.files import read_json
from biasmatters.stages.maps import MAPS, read_maps
from biasmatters.stages.network import device_of, trained_network
from biasmatters.stages.rows import write_rows
from biasmatters.stages.source import Source
from biasmatters.stages.spec import MethodSpec, Part, TrainerSpec
from biasmatters.stages.train import trainer_options
from biasmatters.types import Result

if TYPE_CHECKING:
    from biasmatters.training import Scored

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Score:
    """Scores the maps of one method.

    Attributes:
        source: The data.
        normalization: Scaling of the inputs.
        seed: Seed of the training.
        method: Whose maps.
        curves: The metrics that give a curve.
        trainer: Batch size and device.
    """

    source: Source
    normalization: str
    seed: int
    method: MethodSpec
    curves: tuple[Part, ...]
    trainer: TrainerSpec

    stage = "score"
    version = 2
    resumable = False

    def slug(self) -> str:
        """Data, normalisation, model, seed, method."""
        spec = self.source.spec
        network = f"{spec.name}-{self.normalization}-{spec.model.name}-s{self.seed}"
        return f"{network}-{self.method.name}"

    def settings(self) -> dict[str, Any]:
        """What the scores depend on besides network and maps."""
        return {
            **self.source.settings(self.normalization),
            "curves": {curve.name: dict(curve.settings) for curve in self.curves},
            "method": [self.method.method, self.method.rule, self.method.reduction],
            "seed": self.seed,
        }

    def run(self, folder: Path, inputs: Mapping[str, Path]) -> None:
        """Read ``network`` and ``maps``, write result rows."""
        data = self.source.load(self.normalization)
        found = read_maps(inputs["maps"] / MAPS)
        found["maps"] = reduce_channels(found["maps"], self.method.reduction)
        images = data.test.select(found["image"])
        x = images.batch(torch.arange(len(images))).images
        network = trained_network(self.source.spec.model, data, True, self.seed, inputs["network"])
        rows = [*self._curves(network, x, found)]
        rows += self._completeness(network, x, found)
        rows += self._cost(read_json(inputs["maps"] / COST), found)
        write_rows(folder, rows)

    def _curves(
        self, network: torch.nn.Module, x: Tensor, found: Mapping[str, Tensor]
    ) -> Iterator[Result]:
        from biasmatters.metrics.functional import ConstantMapWarning, bootstrap_band
        from biasmatters.training import Score as ScoreModule
        from biasmatters.training import predict

        _tell_constant(found["maps"], self.slug())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConstantMapWarning)
            batches: list[dict[str, Scored]] = predict(
                ScoreModule(network, {curve.name: curve.make for curve in self.curves}),
                TensorDataset(x, found["maps"], found["target"]),
                batch_size=self.trainer.eval_batch_size,
                label=f"score {self.slug()}",
                **trainer_options(self.trainer, devices=1),
            )
        for curve in self.curves:
            scores = torch.cat([batch[curve.name].scores for batch in batches])
            auc = torch.cat([batch[curve.name].auc for batch in batches])
            yield self._interval(f"{curve.name}_auc", auc)
            band = bootstrap_band(scores.double())
            points = zip(
                batches[0][curve.name].fractions, band.value, band.low, band.high, strict=True
            )
            for at, value, low, high in points:
                ends = float(low), float(high), float(at)
                yield self._row(curve.name, float(value), len(scores), *ends)

    def _completeness(
        self, network: torch.nn.Module, x: Tensor, found: Mapping[str, Tensor]
    ) -> Iterator[Result]:
        from biasmatters.metrics.functional import bias_ablation

        residual, fallback = found["residual"], found["fallback"]
        if not residual.isnan().all():
            device = device_of(self.trainer.accelerator)
            split = partial(bias_ablation, network.to(device))
            pieces = torch.split(x, self.trainer.eval_batch_size)
            bias = torch.cat([split(piece.to(device)).bias.cpu() for piece in pieces])
            scale = 1 + bias.gather(1, found["target"][:, None]).squeeze(1).abs()
            worst = float((residual.abs() / scale).max())
            yield self._row("completeness_residual", worst, len(residual))
        if not fallback.isnan().all():
            yield self._interval("fallback_share", fallback)

    def _cost(self, cost: Mapping[str, Any], found: Mapping[str, Tensor]) -> Iterator[Result]:
        n = len(found["image"])
        yield self._row("seconds_per_image", cost["seconds"] / n, n)
        yield self._row("forward_passes", cost["seconds"] / cost["forward_seconds"], n)
        if cost["memory"] is not None:
            yield self._row("memory", cost["memory"], n)
        for metric, value in cost["diagnostics"].items():
            yield self._row(metric, value, n)

    def _interval(self, metric: str, values: Tensor) -> Result:
        from biasmatters.metrics.functional import bootstrap_interval

        found = bootstrap_interval(values.double())
        return self._row(metric, found.value, len(values), found.low, found.high)

    def _row(
        self,
        metric: str,
        value: float,
        n: int,
        low: float | None = None,
        high: float | None = None,
        at: float | None = None,
    ) -> Result:
        spec = self.source.spec
        return Result(
            experiment="",
            data=spec.name,
            normalization=self.normalization,
            model=spec.model.name,
            bias=True,
            method=self.method.method,
            rule=self.method.rule,
            metric=metric,
            seed=self.seed,
            value=value,
            low=low,
            high=high,
            n=n,
            at=at,
            stage="",
        )


def _tell_constant(maps: Tensor, label: str) -> None:
    flat = maps.flatten(1)
    count = int((flat == flat[:, :1]).all(1).sum())
    if count:
        log.warning(
            "%s: %d of %d maps are constant, so their curves are those of a random order",
            label,
            count,
            len(flat),
        )
