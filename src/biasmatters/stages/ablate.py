"""Stage ablate: Table 1's four accuracies of one pair of networks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from biasmatters.stages.measure import Rows
from biasmatters.stages.network import device_of, trained_network
from biasmatters.stages.rows import write_rows
from biasmatters.stages.source import Source
from biasmatters.stages.spec import TrainerSpec
from biasmatters.types import Result

PARTS = ("accuracy_all", "accuracy_weight", "accuracy_bias")


@dataclass(frozen=True)
class Ablate:
    """Accuracy of f, of w.x and of b, and of the network trained without bias.

    Attributes:
        source: The data; all test images are used.
        normalization: Scaling of the inputs.
        seed: Seed of the trainings.
        trainer: Batch size and device.
    """

    source: Source
    normalization: str
    seed: int
    trainer: TrainerSpec

    stage = "ablate"
    version = 1
    resumable = False

    def slug(self) -> str:
        """Data, normalisation, model, seed."""
        return self.source.network_name(self.normalization, self.seed)

    def settings(self) -> dict[str, Any]:
        """What the accuracies depend on besides the networks."""
        return {**self.source.settings(self.normalization), "seed": self.seed}

    def run(self, folder: Path, inputs: Mapping[str, Path]) -> None:
        """Read ``with_bias`` and ``without_bias``, write result rows."""
        rows: list[Result] = []
        for bias, role in ((True, "with_bias"), (False, "without_bias")):
            parts = self._correct(inputs[role], bias)
            make = Rows.of(self.source.spec, self.normalization, self.seed, bias=bias)
            rows += [make.interval(name, correct) for name, correct in parts]
        write_rows(folder, rows)

    def _correct(self, weights: Path, bias: bool) -> Iterator[tuple[str, Tensor]]:
        """Which test images each part of the network gets right, as ``(N,)`` of 0 and 1."""
        from biasmatters.metrics.functional import bias_ablation

        data = self.source.load(self.normalization)
        device = device_of(self.trainer.accelerator)
        network = trained_network(self.source.spec.model, data, bias, self.seed, weights)
        network.to(device)
        found: dict[str, list[Tensor]] = {name: [] for name in PARTS}
        for index in torch.split(torch.arange(len(data.test)), self.trainer.eval_batch_size):
            x, label, _ = data.test.batch(index)
            split = bias_ablation(network, x.to(device)).correct(label)
            for name in PARTS:
                found[name].append(split[name].cpu())
        for name in PARTS if bias else PARTS[:1]:
            yield name, torch.cat(found[name])
