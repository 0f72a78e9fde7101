"""Stage attribute: the maps of one method on one network."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from biasmatters.stages.files import read_json, write_json
from biasmatters.stages.maps import MAPS, join, read_maps, write_maps
from biasmatters.stages.network import trained_network
from biasmatters.stages.source import Source, explained_images, some_of
from biasmatters.stages.spec import MethodSpec, TrainerSpec
from biasmatters.stages.train import trainer_options
from biasmatters.types import Attributor, Fittable

if TYPE_CHECKING:
    from biasmatters.data.images import ImageData, TensorImages
    from biasmatters.training.explain import Diagnose, Explained

log = logging.getLogger(__name__)

COST = "cost.json"
# Pictures of a run whose row entropies are measured: a layer mean needs no more.
DIAGNOSED = 8
# Training pictures that a method learns from, if it does.
FITTED = 4096
Cost = dict[str, Any]


@dataclass(frozen=True)
class Attribute:
    """Explains the predicted class on a fixed subset of the test images.

    Attributes:
        source: The data.
        normalization: Scaling of the inputs.
        seed: Seed of the training.
        method: The attribution method.
        images: How many test images.
        chunk: Images between two writes; a killed run goes on after the last chunk.
        batch_size: Images that are explained at once.
        trainer: The device.
    """

    source: Source
    normalization: str
    seed: int
    method: MethodSpec
    images: int
    chunk: int
    batch_size: int
    trainer: TrainerSpec

    stage = "attribute"
    version = 3
    resumable = True

    def slug(self) -> str:
        """Data, normalisation, model, seed, method."""
        network = self.source.network_name(self.normalization, self.seed)
        return f"{network}-{self.method.name}"

    def settings(self) -> dict[str, Any]:
        """What the maps depend on besides the network."""
        return {
            **self.source.settings(self.normalization),
            "method": dict(self.method.part.settings),
            "images": self.images,
            "batch_size": self.batch_size,
            "seed": self.seed,
        }

    def run(self, folder: Path, inputs: Mapping[str, Path]) -> None:
        """Read ``network``, write ``maps.safetensors`` and ``cost.json``."""
        data = self.source.load(self.normalization)
        images = explained_images(data, self.images)
        network = trained_network(self.source.spec.model, data, True, self.seed, inputs["network"])
        attributor = fitted(self.method.part.make(network), data, self.batch_size, network)
        parts: list[dict[str, Tensor]] = []
        costs: list[Cost] = []
        for name, rows in _chunks(len(images), self.chunk):
            maps, cost = folder / f"{name}.safetensors", folder / f"{name}.json"
            if not cost.exists():
                some = images.select(images.ids[rows])
                diagnose = None if costs else _diagnosis(attributor)  # what is kept is the first's
                tensors, figures = self._explain(network, attributor, some, diagnose)
                write_maps(maps, tensors)
                write_json(cost, figures)
            parts.append(read_maps(maps))
            costs.append(read_json(cost))
        whole = join(parts)
        _tell_missed(whole, self.method.name)
        write_maps(folder / MAPS, whole)
        write_json(folder / COST, _total(costs))
        for path in folder.glob("chunk-*"):
            path.unlink()

    def _explain(
        self,
        network: torch.nn.Module,
        attributor: Attributor,
        images: TensorImages,
        diagnose: Diagnose | None,
    ) -> tuple[dict[str, Tensor], Cost]:
        from biasmatters.baselines.conservation import ConservationWarning
        from biasmatters.data.images import collate
        from biasmatters.training import Explain, predict

        with warnings.catch_warnings():
            # Said once, of all pictures together.
            warnings.simplefilter("ignore", ConservationWarning)
            batches: list[Explained] = predict(
                Explain(network, attributor, diagnose),
                images,
                batch_size=self.batch_size,
                label=f"attribute {self.slug()}",
                collate=collate,
                **trainer_options(self.trainer, devices=1),
            )
        return _tensors(batches), _cost(batches, len(images))


def _tell_missed(found: Mapping[str, Tensor], method: str) -> None:
    """Say how far maps of a method that is not exact are from their total."""
    excess = (found["residual"] - found["tolerance"]).nan_to_num(-torch.inf)
    if bool((excess > 0).any()):
        log.warning(
            "%s: %d of %d maps miss their total, at worst by %.3g",
            method,
            int((excess > 0).sum()),
            len(excess),
            float(found["residual"][excess.argmax()]),
        )


def fitted(attributor: Any, data: ImageData, size: int, network: torch.nn.Module) -> Attributor:
    """The method, having learned from a fixed subset of the training images if it has to."""
    if isinstance(attributor, Fittable):
        device = next(network.parameters()).device
        images = some_of(data.train, FITTED)
        rows = torch.split(torch.arange(len(images)), size)
        attributor.fit(images.batch(part).images.to(device) for part in rows)
    made: Attributor = attributor
    return made


def _chunks(count: int, size: int) -> Iterator[tuple[str, Tensor]]:
    for number, rows in enumerate(torch.split(torch.arange(count), size)):
        yield f"chunk-{number:05d}", rows


def _tensors(batches: list[Explained]) -> dict[str, Tensor]:
    names = ("maps", "target", "image", "residual", "tolerance", "fallback")
    return {name: torch.cat([getattr(batch, name) for batch in batches]) for name in names}


def _cost(batches: list[Explained], images: int) -> Cost:
    return {
        "images": images,
        "seconds": sum(batch.seconds for batch in batches),
        "forward_seconds": sum(batch.forward_seconds for batch in batches),
        "diagnostics": dict(batches[0].diagnostics),
        "memory": batches[0].memory,
    }


def _total(costs: list[Cost]) -> Cost:
    """Sums over chunks; diagnostics and memory are those of the first batch of all."""
    names = ("images", "seconds", "forward_seconds")
    total = {name: sum(cost[name] for cost in costs) for name in names}
    return {**total, "diagnostics": costs[0]["diagnostics"], "memory": costs[0]["memory"]}


def _diagnosis(attributor: Attributor) -> Diagnose | None:
    """For BBp: how evenly its rule splits, layer by layer, which takes every connection."""
    from biasmatters.attribution import BiasBackprop

    if not isinstance(attributor, BiasBackprop):
        return None
    explain = attributor.explain
    some = slice(DIAGNOSED)
    return lambda x, target: explain(x[some], target[some], diagnostics=True).diagnostics
