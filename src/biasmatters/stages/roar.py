"""Stage roar: networks trained anew without the pixels that a method points to."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from biasmatters.data.images import Batch, ImageData, TensorImages, collate
from biasmatters.stages.bound import Bound
from biasmatters.stages.maps import read_maps, write_maps
from biasmatters.stages.measure import Rows
from biasmatters.stages.network import device_of, new_network, save_network, trained_network
from biasmatters.stages.rows import read_rows, write_rows
from biasmatters.stages.source import Source, some_of
from biasmatters.stages.spec import MethodSpec, RoarSpec, TrainerSpec
from biasmatters.stages.train import fit_plan
from biasmatters.types import Result

log = logging.getLogger(__name__)

NONE = torch.zeros(0, dtype=torch.int64)


@dataclass(frozen=True)
class Roar:
    """Removes the most salient pixels of training and test images, and trains a network on each.

    Attributes:
        source: The data.
        normalization: Scaling of the inputs.
        seed: Seed of the trainings.
        method: Whose maps.
        plan: Which fractions, and how many images.
        trainer: How to train.
        batch_size: Images that are explained at once.
    """

    source: Source
    normalization: str
    seed: int
    method: MethodSpec
    plan: RoarSpec
    trainer: TrainerSpec
    batch_size: int

    stage = "roar"
    version = 1
    resumable = True

    def slug(self) -> str:
        """Data, normalisation, model, seed, method."""
        network = self.source.network_name(self.normalization, self.seed)
        return f"{network}-{self.method.name}"

    def settings(self) -> dict[str, Any]:
        """What the accuracies depend on besides the network that is explained."""
        return {
            **self.source.settings(self.normalization),
            "model": dict(self.source.spec.model.settings),
            "method": dict(self.method.part.settings),
            "reduction": self.method.reduction,
            "fractions": list(self.plan.fractions),
            "train_images": self.plan.train_images,
            "test_images": self.plan.test_images,
            "trainer": self.trainer.settings(self.source.spec.model.name),
            "batch_size": self.batch_size,
            "seed": self.seed,
        }

    def run(self, folder: Path, inputs: Mapping[str, Path]) -> None:
        """Read ``network``; write the accuracy at every fraction. A killed run goes on."""
        data = self.source.load(self.normalization)
        parts = (
            some_of(data.train, self.plan.train_images),
            some_of(data.test, self.plan.test_images),
        )
        network = trained_network(self.source.spec.model, data, True, self.seed, inputs["network"])
        maps = self._maps(folder, network, data, parts)
        rows: list[Result] = []
        for fraction in self.plan.fractions:
            done = folder / f"at-{fraction:g}"
            if not (done / "rows.jsonl").exists():
                done.mkdir(exist_ok=True)
                write_rows(done, [self._at(fraction, done, data, parts, maps)])
            rows += read_rows(done)
        write_rows(folder, rows)

    def _maps(
        self, folder: Path, network: nn.Module, data: ImageData, parts: Sequence[TensorImages]
    ) -> tuple[Tensor, ...]:
        """Maps of the predicted class, of training and of test images."""
        found = []
        device = device_of(self.trainer.accelerator)
        for name, images in zip(("train", "test"), parts, strict=True):
            place = folder / f"maps-{name}.safetensors"
            if not place.exists():
                log.info("%s: explaining %d %s images", self.slug(), len(images), name)
                explain = Bound(self.method, data, self.batch_size)(network.to(device))
                made = [self._explained(network, explain, x.to(device)) for x in _batches(images)]
                write_maps(place, {"maps": torch.cat(made)})
            found.append(read_maps(place)["maps"])
        return tuple(found)

    def _explained(self, network: nn.Module, explain: Any, x: Tensor) -> Tensor:
        with torch.no_grad():
            target = network(x).argmax(1)
        maps: Tensor = explain(x, target)
        return maps.cpu()

    def _at(
        self,
        fraction: float,
        folder: Path,
        data: ImageData,
        parts: Sequence[TensorImages],
        maps: Sequence[Tensor],
    ) -> Result:
        """Accuracy of a network that neither saw nor sees the removed pixels."""
        from biasmatters.training import Classifier, fit

        train, test = (
            Removed(images, found, fraction, _means(parts[0]))
            for images, found in zip(parts, maps, strict=True)
        )
        network = new_network(self.source.spec.model, data, True, self.seed)
        name = self.source.spec.model.name
        module = Classifier(network, self.trainer.optimizer_of(name), self.trainer.schedule)
        label = f"{self.slug()} without {100 * fraction:g} %"
        plan = fit_plan(self.trainer, self.seed, label)
        fit(module, train, test.selected(NONE), plan, folder, collate)
        save_network(network, folder)
        right = _right(network.eval().to(device_of(self.trainer.accelerator)), test)
        make = Rows.of(
            self.source.spec, self.normalization, self.seed, self.method.method, self.method.rule
        )
        row = make.interval("roar", right, "low")
        return replace(row, at=fraction)


class Removed(Dataset[Any]):
    """Images without the pixels that their maps point to.

    Args:
        images: The images.
        maps: ``(N, H, W)``.
        fraction: Share of the pixels removed.
        fill: ``(C,)`` what stands in for them.
        rows: ``(n,)`` positions kept; None for all.
    """

    def __init__(
        self,
        images: TensorImages,
        maps: Tensor,
        fraction: float,
        fill: Tensor,
        rows: Tensor | None = None,
    ) -> None:
        self.parts = (images, maps, fraction, fill)
        self.rows = torch.arange(len(images)) if rows is None else rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Any:
        image, label, row = self.__getitems__([index])
        return image[0], int(label), int(row)

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        """A whole batch without a loop."""
        from biasmatters.metrics.functional.roar import without_top

        images, maps, fraction, fill = self.parts
        rows = self.rows[torch.as_tensor(indices, dtype=torch.int64)]
        x, labels, ids = images.batch(rows)
        return Batch(without_top(x, maps[rows], fraction, fill), labels, ids)

    def selected(self, rows: Tensor) -> Removed:
        """Those at some positions."""
        return Removed(*self.parts, rows)


def _batches(images: TensorImages, size: int = 500) -> Iterator[Tensor]:
    for rows in torch.split(torch.arange(len(images)), size):
        yield images.batch(rows).images


def _means(images: TensorImages) -> Tensor:
    """``(C,)`` mean of each channel over images."""
    sums = torch.stack([x.double().mean((2, 3)).sum(0) for x in _batches(images)])
    return (sums.sum(0) / len(images)).float()


def _right(network: nn.Module, images: Removed) -> Tensor:
    """Which images a network gets right, ``(N,)`` of 0 and 1."""
    device, found = next(network.parameters()).device, []
    with torch.no_grad():
        for rows in torch.split(torch.arange(len(images)), 500):
            batch = images.__getitems__(rows.tolist())
            found.append(network(batch.images.to(device)).argmax(1).cpu() == batch.labels)
    return torch.cat(found).float()
