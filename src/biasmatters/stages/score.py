"""Stage score: curves, figures, completeness and cost of one method's maps."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from biasmatters.attribution import reduce_channels
from biasmatters.stages.attribute import COST
from biasmatters.stages.bound import Bound
from biasmatters.stages.files import read_json
from biasmatters.stages.maps import MAPS, read_maps, write_maps
from biasmatters.stages.measure import Rows, measure, usable
from biasmatters.stages.network import device_of, trained_network
from biasmatters.stages.rows import write_rows
from biasmatters.stages.source import Source
from biasmatters.stages.spec import MethodSpec, MetricSpec, TrainerSpec
from biasmatters.types import Result

if TYPE_CHECKING:
    from biasmatters.data.images import ImageData
    from biasmatters.training import Measured

log = logging.getLogger(__name__)

SCORES = "scores.safetensors"


@dataclass(frozen=True)
class Score:
    """Scores the maps of one method, and the method itself where a metric asks it again.

    Attributes:
        source: The data.
        normalization: Scaling of the inputs.
        seed: Seed of the training.
        method: Whose maps.
        metrics: What is measured.
        trainer: Batch size and device.
        batch_size: Images that are explained at once.
    """

    source: Source
    normalization: str
    seed: int
    method: MethodSpec
    metrics: tuple[MetricSpec, ...]
    trainer: TrainerSpec
    batch_size: int

    stage = "score"
    version = 3
    resumable = False

    def slug(self) -> str:
        """Data, normalisation, model, seed, method."""
        network = self.source.network_name(self.normalization, self.seed)
        return f"{network}-{self.method.name}"

    def settings(self) -> dict[str, Any]:
        """What the scores depend on besides network and maps."""
        return {
            **self.source.settings(self.normalization),
            "metrics": {metric.name: metric.settings() for metric in self.metrics},
            "method": [self.method.method, self.method.rule, self.method.reduction],
            "seed": self.seed,
        }

    def run(self, folder: Path, inputs: Mapping[str, Path]) -> None:
        """Read ``network`` and ``maps``; write result rows, and one figure per picture."""
        data = self.source.load(self.normalization)
        found = read_maps(inputs["maps"] / MAPS)
        found["maps"] = reduce_channels(found["maps"], self.method.reduction)
        images = data.test.select(found["image"])
        x = images.batch(torch.arange(len(images))).images
        network = trained_network(self.source.spec.model, data, True, self.seed, inputs["network"])
        columns = {"x": x, "labels": images.labels, "masks": images.masks}
        columns |= {name: found[name] for name in ("maps", "target")}
        _tell_constant(found["maps"], self.slug())
        scores = self._measure(network, data, columns)
        rows = [*self._figures(scores)]
        rows += self._completeness(network, x, found)
        rows += self._cost(read_json(inputs["maps"] / COST), found)
        write_rows(folder, rows)
        values = {k: v.double() for part in scores.values() for k, v in part.values.items()}
        write_maps(folder / SCORES, {"image": found["image"], **values})

    def _measure(
        self, network: nn.Module, data: ImageData, columns: Mapping[str, Tensor | None]
    ) -> dict[str, Measured]:
        metrics = usable(self.metrics, masks=columns["masks"] is not None)
        given: dict[str, Any] = {}
        if _asks_again(metrics):
            method = Bound(self.method, data, self.batch_size)
            given = {"method": method, "explain": method(network)}
        return measure(network, metrics, columns, self.trainer, f"score {self.slug()}", **given)

    def _figures(self, scores: Mapping[str, Measured]) -> Iterator[Result]:
        for metric in self.metrics:
            if metric.name in scores:
                yield from self._rows().measured(metric, scores[metric.name])

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
            yield self._rows().row("completeness_residual", worst, len(residual))
        if not fallback.isnan().all():
            yield self._rows().interval("fallback_share", fallback)

    def _cost(self, cost: Mapping[str, Any], found: Mapping[str, Tensor]) -> Iterator[Result]:
        n, row = len(found["image"]), self._rows().row
        yield row("seconds_per_image", cost["seconds"] / n, n)
        yield row("forward_passes", cost["seconds"] / cost["forward_seconds"], n)
        if cost["memory"] is not None:
            yield row("memory", cost["memory"], n)
        for metric, value in cost["diagnostics"].items():
            yield row(metric, value, n)

    def _rows(self) -> Rows:
        spec, method = self.source.spec, self.method
        return Rows.of(spec, self.normalization, self.seed, method.method, method.rule)


def _asks_again(metrics: list[MetricSpec]) -> bool:
    return any({"explain", "method"} & set(metric.needs) for metric in metrics)


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
