"""The bias ablation of Table 1 as a torchmetric."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from biasmatters.metrics.functional.ablation import AblationMode, bias_ablation


class BiasAblationAccuracy(Metric):
    """Accuracy of f(x), of w.x alone and of b alone.

    Args:
        model: Maps ``(N, ...)`` to ``(N, classes)``; it is not registered as a submodule.
        mode: ``forward`` or ``reverse``, as for the function.

    Example:
        >>> import torch
        >>> metric = BiasAblationAccuracy(torch.nn.Linear(4, 3))
        >>> metric.update(torch.rand(5, 4), torch.zeros(5, dtype=torch.long))
        >>> sorted(metric.compute())
        ['accuracy_all', 'accuracy_bias', 'accuracy_weight']
    """

    full_state_update: bool = False
    is_differentiable: bool = False
    higher_is_better: bool = True
    accuracy_all: list[Tensor]
    accuracy_weight: list[Tensor]
    accuracy_bias: list[Tensor]

    def __init__(
        self,
        model: Callable[[Tensor], Tensor],
        *,
        mode: AblationMode = "forward",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._split = partial(bias_ablation, model, mode=mode)
        for name in ("accuracy_all", "accuracy_weight", "accuracy_bias"):
            self.add_state(name, default=[], dist_reduce_fx="cat")

    def update(self, x: Tensor, labels: Tensor) -> None:
        """Count a batch: ``(N, ...)`` inputs and their ``(N,)`` labels."""
        hits = self._split(x).correct(labels)
        self.accuracy_all.append(hits["accuracy_all"])
        self.accuracy_weight.append(hits["accuracy_weight"])
        self.accuracy_bias.append(hits["accuracy_bias"])

    def compute(self) -> dict[str, Tensor]:
        """The three accuracies, scalars between 0 and 1."""
        return {name: hits.mean() for name, hits in self.hits().items()}

    def hits(self) -> dict[str, Tensor]:
        """``(N,)`` of 0 and 1 for each part, over all samples seen, to be bootstrapped."""
        return {
            "accuracy_all": dim_zero_cat(self.accuracy_all),
            "accuracy_weight": dim_zero_cat(self.accuracy_weight),
            "accuracy_bias": dim_zero_cat(self.accuracy_bias),
        }
