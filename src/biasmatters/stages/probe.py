"""Stage probe: what metrics of a network alone, such as bias ablations, find on the test images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from biasmatters.stages.measure import Rows, measure, usable
from biasmatters.stages.network import trained_network
from biasmatters.stages.rows import write_rows
from biasmatters.stages.source import Source
from biasmatters.stages.spec import MetricSpec, TrainerSpec


@dataclass(frozen=True)
class Probe:
    """Measures a network on all test images.

    Attributes:
        source: The data.
        normalization: Scaling of the inputs.
        seed: Seed of the training.
        metrics: What is measured; none of them needs maps or a method.
        trainer: Batch size and device.
    """

    source: Source
    normalization: str
    seed: int
    metrics: tuple[MetricSpec, ...]
    trainer: TrainerSpec

    stage = "probe"
    version = 1
    resumable = False

    def slug(self) -> str:
        """Data, normalisation, model, seed."""
        return self.source.network_name(self.normalization, self.seed)

    def settings(self) -> dict[str, Any]:
        """What the figures depend on besides the network."""
        return {
            **self.source.settings(self.normalization),
            "metrics": {metric.name: metric.settings() for metric in self.metrics},
            "seed": self.seed,
        }

    def run(self, folder: Path, inputs: Mapping[str, Path]) -> None:
        """Read ``network``, write result rows."""
        data = self.source.load(self.normalization)
        network = trained_network(self.source.spec.model, data, True, self.seed, inputs["network"])
        images = data.test
        x = images.batch(torch.arange(len(images))).images
        columns = {"x": x, "labels": images.labels, "masks": images.masks}
        metrics = usable(self.metrics, masks=images.masks is not None)
        # All at once: what is averaged over the data needs all of it, and metrics bound themselves.
        whole = replace(self.trainer, eval_batch_size=len(images))
        found = measure(network, metrics, columns, whole, f"probe {self.slug()}")
        make = Rows.of(self.source.spec, self.normalization, self.seed)
        named = {metric.name: metric for metric in metrics}
        write_rows(
            folder, [row for name in found for row in make.measured(named[name], found[name])]
        )
