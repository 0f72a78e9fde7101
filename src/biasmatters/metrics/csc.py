"""Cosine similarity convergence as a torchmetric."""

from __future__ import annotations

from collections.abc import Sequence
from inspect import signature
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from biasmatters.metrics.functional._checks import MetricInputError
from biasmatters.metrics.functional.csc import Convergence, Descend, LayerConvergence, csc


class CosineSimilarityConvergence(Metric):
    """Pools :func:`~biasmatters.metrics.functional.csc.csc` over batches of pictures.

    The gaps of all pictures are kept, at the default settings 40 kB for each picture and layer.

    Args:
        descend: A method's ``descend``.
        start: The layer at which signals set out.
        layers: Layers below, and ``input``.
        settings: Keywords of the function, and those of `torchmetrics.Metric`.

    Example:
        >>> import torch
        >>> def descend(x, start, signal, layers):
        ...     return {"low": signal(torch.empty(len(x), 8)) @ torch.ones(8, 4)}
        >>> metric = CosineSimilarityConvergence(descend, "top", ["low"])
        >>> metric.update(torch.rand(3, 1, 2, 2))
        >>> bool(metric.compute()["low"] < 1e-12), metric.convergence().layers["low"].gaps.shape
        (True, torch.Size([3, 10]))
    """

    full_state_update: bool = False
    is_differentiable: bool = False
    higher_is_better: bool | None = None

    def __init__(
        self, descend: Descend, start: str, layers: Sequence[str], **settings: Any
    ) -> None:
        own = set(signature(csc).parameters)
        super().__init__(**{name: v for name, v in settings.items() if name not in own})
        self.start, self.layers = start, tuple(layers)
        self._descend = descend
        self._settings = {name: v for name, v in settings.items() if name in own}
        self._like: dict[str, LayerConvergence] = {}
        for i in range(len(self.layers)):
            self.add_state(f"gaps_{i}", default=[], dist_reduce_fx="cat")

    def update(self, x: Tensor) -> None:
        """Measure a batch of pictures ``(N, *features)``."""
        self._like = csc(self._descend, x, self.start, self.layers, **self._settings).layers
        for i, name in enumerate(self.layers):
            getattr(self, f"gaps_{i}").append(self._like[name].gaps)

    def compute(self) -> dict[str, Tensor]:
        """``1 - median |cos|`` by layer, scalars; 0 where nothing of the start is left."""
        layers = self.convergence().layers
        return {name: torch.tensor(layer.gap) for name, layer in layers.items()}

    def convergence(self) -> Convergence:
        """Everything pooled so far.

        Raises:
            MetricInputError: Before the first `update`.
        """
        if not self._like:
            raise MetricInputError("nothing has been measured yet; call update first.")
        found = {}
        for i, name in enumerate(self.layers):
            like, gaps = self._like[name], dim_zero_cat(getattr(self, f"gaps_{i}"))
            found[name] = LayerConvergence(gaps, like.channels, like.floor)
        return Convergence(self.start, found)
