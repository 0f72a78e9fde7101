"""Stage train: a network with or without bias."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from biasmatters.stages.network import new_network, save_network
from biasmatters.stages.source import Source
from biasmatters.stages.spec import TrainerSpec

if TYPE_CHECKING:
    from biasmatters.training import FitPlan


@dataclass(frozen=True)
class Train:
    """Trains one network and leaves ``weights.safetensors`` and ``curves.csv``.

    Attributes:
        source: The data.
        normalization: Scaling of the inputs.
        bias: Whether the network has bias.
        seed: Of initial weights, shuffling and dropout.
        trainer: How to train.
    """

    source: Source
    normalization: str
    bias: bool
    seed: int
    trainer: TrainerSpec

    stage = "train"
    version = 1
    resumable = True

    def slug(self) -> str:
        """Data, normalisation, model, bias, seed."""
        spec = self.source.spec
        bias = "bias" if self.bias else "nobias"
        return f"{spec.name}-{self.normalization}-{spec.model.name}-{bias}-s{self.seed}"

    def settings(self) -> dict[str, Any]:
        """What the weights depend on."""
        return {
            **self.source.settings(self.normalization),
            "model": dict(self.source.spec.model.settings),
            "bias": self.bias,
            "seed": self.seed,
            "trainer": self.trainer.settings(self.source.spec.model.name),
        }

    def run(self, folder: Path, inputs: Mapping[str, Path]) -> None:
        """Train, going on from the last finished epoch if there is one."""
        from biasmatters.data.images import collate
        from biasmatters.training import Classifier, fit

        data = self.source.load(self.normalization)
        network = new_network(self.source.spec.model, data, self.bias, self.seed)
        network.to(memory_format=torch.channels_last)
        spec = self.trainer
        module = Classifier(network, spec.optimizer_of(self.source.spec.model.name), spec.schedule)
        plan = fit_plan(spec, self.seed, f"train {self.slug()}")
        fit(module, data.train, data.validation, plan, folder, collate)
        save_network(network, folder)
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)


def fit_plan(spec: TrainerSpec, seed: int, label: str) -> FitPlan:
    """How Lightning trains a network as the specification says."""
    from biasmatters.training import FitPlan

    return FitPlan(
        seed=seed,
        epochs=spec.epochs,
        batch_size=spec.batch_size,
        eval_batch_size=spec.eval_batch_size,
        label=label,
        workers=spec.workers,
        options=trainer_options(spec),
    )


def trainer_options(spec: TrainerSpec, devices: int | None = None) -> dict[str, Any]:
    """Keywords of Lightning's Trainer."""
    return {
        "accelerator": spec.accelerator,
        "devices": spec.devices if devices is None else devices,
        "strategy": spec.strategy if devices is None else "auto",
        "precision": spec.precision if devices is None else "32-true",
        "deterministic": "warn" if spec.deterministic else False,
    }
