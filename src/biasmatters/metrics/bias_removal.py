"""The removal of biases as a torchmetric."""

from __future__ import annotations

from dataclasses import replace as changed
from functools import partial
from typing import Any

from torch import Tensor, nn
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from biasmatters.metrics.functional._checks import MetricInputError
from biasmatters.metrics.functional.bias_removal import BiasRemoval, RemovalOrder, bias_removal
from biasmatters.metrics.functional.biases import BatchNorm, Replace


class BiasRemovalAccuracy(Metric):
    """Accuracy, confidence and rank of the label while biases are taken away layer by layer.

    Args:
        model: Maps ``(N, ...)`` to ``(N, classes)``; it is not registered as a submodule.
        order: As for :func:`bias_removal`.
        replace: As for :func:`bias_removal`.
        batch_norm: As for :func:`bias_removal`.
        chunk_size: As for :func:`bias_removal`.

    Example:
        >>> import torch
        >>> net = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2))
        >>> metric = BiasRemovalAccuracy(net, order="top")
        >>> metric.update(torch.rand(5, 4), torch.zeros(5, dtype=torch.long))
        >>> metric.removal().variants, metric.compute()["accuracy"].shape
        (('none', '2', '0'), torch.Size([3]))
    """

    full_state_update: bool = False
    is_differentiable: bool = False
    higher_is_better: bool | None = None
    confidence: list[Tensor]
    rank: list[Tensor]
    predicted: list[Tensor]

    def __init__(
        self,
        model: nn.Module,
        *,
        order: RemovalOrder = "each",
        replace: Replace = "zero",
        batch_norm: BatchNorm = "effective",
        chunk_size: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._remove = partial(
            bias_removal,
            model,
            order=order,
            replace=replace,
            batch_norm=batch_norm,
            chunk_size=chunk_size,
        )
        self._last: BiasRemoval | None = None
        for name in ("confidence", "rank", "predicted"):
            self.add_state(name, default=[], dist_reduce_fx="cat")

    def update(self, x: Tensor, labels: Tensor) -> None:
        """Score a batch: ``(N, ...)`` inputs and their ``(N,)`` labels.

        Raises:
            MetricInputError: If it runs through other layers than the batches before.
        """
        found = self._remove(x, labels)
        if self.rank and self._last is not None and found.names != self._last.names:
            raise MetricInputError(
                f"this batch runs through {found.names}, those before through {self._last.names}: "
                "measure pictures that take different ways apart."
            )
        self._last = found
        self.confidence.append(found.confidence.T)
        self.rank.append(found.rank.T)
        self.predicted.append(found.predicted.T)

    def compute(self) -> dict[str, Tensor]:
        """``(V,)`` means over all pictures of what :meth:`per_image` gives, one a variant."""
        return {name: values.mean(1) for name, values in self.per_image().items()}

    def per_image(self) -> dict[str, Tensor]:
        """``(V, N)`` of every figure, over all pictures seen, to be bootstrapped.

        Raises:
            MetricInputError: Before the first `update`.
        """
        return self.removal().figures()

    def removal(self) -> BiasRemoval:
        """The variants over all pictures seen.

        Raises:
            MetricInputError: Before the first `update`.
        """
        if self._last is None or not self.rank:
            raise MetricInputError("nothing has been measured yet; call update first.")
        return changed(
            self._last,
            confidence=dim_zero_cat(self.confidence).T,
            rank=dim_zero_cat(self.rank).T,
            predicted=dim_zero_cat(self.predicted).T,
        )
