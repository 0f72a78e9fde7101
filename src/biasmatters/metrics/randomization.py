"""The model parameter randomisation test as a torchmetric."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchmetrics.utilities import dim_zero_cat

from biasmatters.metrics.functional.mprt import ParameterRandomization, mprt
from biasmatters.metrics.functional.similarity import Similarity
from biasmatters.metrics.gathering import PerImage


class Mprt(PerImage):
    """Gathers the likeness of maps before and after weights are randomised; low is better.

    Args:
        model: The model that is explained.
        method: Binds the method to a model; `update` takes ``x, target``.
        settings: Keywords of :func:`~biasmatters.metrics.functional.mprt.mprt`.

    Example:
        >>> import torch
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(36, 3))
        >>> method = lambda net: lambda x, target: net[1].weight[target].view_as(x)
        >>> metric = Mprt(model, method, similarities=("spearman", "ssim"))
        >>> metric.update(torch.randn(5, 1, 6, 6))
        >>> found = metric.randomization()
        >>> found.layers, found.scores["ssim"].shape, metric.compute().shape
        (('1',), torch.Size([5, 1]), torch.Size([2]))
    """

    function = staticmethod(mprt)
    higher_is_better: bool = False
    targets: list[Tensor]

    def __init__(self, *bound: Any, **settings: Any) -> None:
        super().__init__(*bound, **settings)
        self._layers: tuple[str, ...] = ()
        self._names: tuple[Similarity, ...] = ()
        self.add_state("targets", default=[], dist_reduce_fx="cat")

    def update(self, *args: Any, **more: Any) -> None:
        """Measure a batch: the function's arguments after those bound."""
        found: ParameterRandomization = self._measure(*args, **more)
        self._layers, self._names = found.layers, tuple(found.scores)
        self.values.append(torch.stack(list(found.scores.values()), 1))
        self.targets.append(found.target)

    def compute(self) -> Tensor:
        """``(similarities,)``, the mean over pictures and layers."""
        return self.per_image().mean((0, 2))

    def per_image(self) -> Tensor:
        """``(N, similarities, layers)``, the scores of every picture seen.

        Raises:
            MetricInputError: Before the first `update`.
        """
        return super().per_image()

    def randomization(self) -> ParameterRandomization:
        """The scores of all pictures seen, with their names.

        Raises:
            MetricInputError: Before the first `update`.
        """
        scores = self.per_image()
        return ParameterRandomization(
            self._layers,
            {name: scores[:, place] for place, name in enumerate(self._names)},
            dim_zero_cat(self.targets),
        )
