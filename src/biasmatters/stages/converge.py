"""Stage converge: whether what a method hands down forgets where it came from."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from biasmatters.stages.attribute import fitted
from biasmatters.stages.measure import Rows
from biasmatters.stages.network import device_of, trained_network
from biasmatters.stages.rows import write_rows
from biasmatters.stages.source import Source, explained_images
from biasmatters.stages.spec import ConvergenceSpec, MethodSpec, TrainerSpec
from biasmatters.types import INPUT, BiasmattersError, Descends, Result

if TYPE_CHECKING:
    from biasmatters.metrics.functional import Convergence, LayerConvergence

log = logging.getLogger(__name__)

ACTIVATIONS = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.Hardtanh)
# Percentiles of |cos| beside the median.
PERCENTS = (10, 90)


class NoDescentError(BiasmattersError):
    """A method is no single pass backwards, so that nothing can set out from a layer."""


@dataclass(frozen=True)
class Converge:
    """Cosine similarity convergence of one method on one network.

    Signals set out at the logits and behind every activation, and are looked at behind every
    activation below and at the input.

    Attributes:
        source: The data.
        normalization: Scaling of the inputs.
        seed: Seed of the training.
        method: Which method.
        plan: How many images and draws, and from which layers.
        trainer: The device.
        batch_size: Images that a method is fitted on at once.
    """

    source: Source
    normalization: str
    seed: int
    method: MethodSpec
    plan: ConvergenceSpec
    trainer: TrainerSpec
    batch_size: int

    stage = "converge"
    version = 1
    resumable = False

    def slug(self) -> str:
        """Data, normalisation, model, seed, method."""
        network = self.source.network_name(self.normalization, self.seed)
        return f"{network}-{self.method.name}"

    def settings(self) -> dict[str, Any]:
        """What the convergence depends on besides the network."""
        starts = self.plan.starts
        return {
            **self.source.settings(self.normalization),
            "method": dict(self.method.part.settings),
            "images": self.plan.images,
            "draws": self.plan.draws,
            "draw_seed": self.plan.seed,
            "starts": None if starts is None else list(starts),
            "seed": self.seed,
        }

    def run(self, folder: Path, inputs: Mapping[str, Path]) -> None:
        """Read ``network``; write one row a start, layer and percentile.

        Raises:
            NoDescentError: For a method that is no single pass backwards.
        """
        data = self.source.load(self.normalization)
        network = trained_network(self.source.spec.model, data, True, self.seed, inputs["network"])
        device = device_of(self.trainer.accelerator)
        images = explained_images(data, self.plan.images)
        x = images.batch(torch.arange(len(images))).images.to(device)
        attributor = self.method.part.make(network.to(device))
        if not isinstance(attributor, Descends):
            raise NoDescentError(
                f"{self.method.name} is no single pass backwards, so it has no convergence; leave "
                "it out (attribution=[...])."
            )
        fitted(attributor, data, self.batch_size, network)
        names = layers_of(network, x[:1])
        rows: list[Result] = []
        for start in self.plan.starts or names[:-1]:
            if start not in names[:-1]:
                raise NoDescentError(
                    f"convergence.starts: there is no {start}; this network has "
                    f"{', '.join(names[:-1])}."
                )
            rows += self._rows(self._from(attributor, x, start, names))
        write_rows(folder, rows)

    def _from(
        self, attributor: Descends, x: Tensor, start: str, names: Sequence[str]
    ) -> Convergence:
        from biasmatters.metrics.functional import csc

        below = names[names.index(start) + 1 :]
        log.info("converge %s: from %s down to %d layers", self.slug(), start, len(below))
        draws, seed = self.plan.draws, self.plan.seed
        return csc(attributor.descend, x, start, below, draws=draws, seed=seed)

    def _rows(self, found: Convergence) -> Iterator[Result]:
        spec, method = self.source.spec, self.method
        make = Rows.of(spec, self.normalization, self.seed, method.method, method.rule)
        for name, layer in found.layers.items():
            for metric, value in _figures(layer):
                row = f"{metric}/{found.start}/{name}"
                yield make.row(row, value, self.plan.images)


def _figures(layer: LayerConvergence) -> Iterator[tuple[str, float]]:
    """``1 - |cos|`` in the middle and at the ends, that of random vectors, and what was dropped."""
    yield "csc", layer.gap
    for percent, value in zip(PERCENTS, layer.percentile_gaps(PERCENTS).tolist(), strict=True):
        yield f"csc_p{percent}", value
    yield "csc_random", layer.random_gap
    yield "csc_dropped", (layer.zero + layer.not_finite) / layer.gaps.numel()


def layers_of(network: nn.Module, x: Tensor) -> list[str]:
    """The last module, then the activations from top to bottom, then the input.

    Args:
        network: Its leaf modules are watched during one forward pass.
        x: ``(1, *features)``.
    """
    order: list[str] = []
    leaves = [(name, m) for name, m in network.named_modules() if name and not any(m.children())]
    hooks = [
        module.register_forward_hook(lambda *_, name=name: order.append(name))
        for name, module in leaves
    ]
    try:
        with torch.no_grad():
            network(x)
    finally:
        for hook in hooks:
            hook.remove()
    found = dict(leaves)
    kept = [n for n in order[:-1] if isinstance(found[n], ACTIVATIONS) and order.count(n) == 1]
    return [order[-1], *reversed(kept), INPUT]
