"""Deletion and insertion as torchmetrics."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from biasmatters.metrics.functional.perturbation import Curve, Score, deletion, insertion
from biasmatters.metrics.functional.ranking import Order
from biasmatters.metrics.functional.substrate import Baseline


class _Perturbation(Metric):
    """Keeps every picture's curve, so that areas, mean curves and intervals can be made of it."""

    full_state_update: bool = False
    is_differentiable: bool = False
    scores: list[Tensor]
    targets: list[Tensor]

    def __init__(self, curve: Callable[..., Curve], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._curve = curve
        self._fractions: Tensor | None = None
        self.add_state("scores", default=[], dist_reduce_fx="cat")
        self.add_state("targets", default=[], dist_reduce_fx="cat")

    def update(self, x: Tensor, maps: Tensor, target: int | Tensor | None = None) -> None:
        """Score a batch.

        Args:
            x: ``(N, C, H, W)`` pictures.
            maps: ``(N, H, W)`` or ``(N, C, H, W)``.
            target: Class followed; None is the predicted one.
        """
        curve = self._curve(x, maps, target)
        self._fractions = curve.fractions
        self.scores.append(curve.scores)
        self.targets.append(curve.target)

    def compute(self) -> Tensor:
        """Mean area under the curve, a scalar."""
        return self.curve().auc.mean()

    def curve(self) -> Curve:
        """The curves of all pictures seen so far."""
        scores = dim_zero_cat(self.scores)
        fractions = self._fractions if self._fractions is not None else torch.linspace(0, 1, 2)
        fractions = fractions.to(scores)
        area = torch.trapezoid(scores, fractions, dim=1)
        return Curve(fractions, scores, area, dim_zero_cat(self.targets))


class Deletion(_Perturbation):
    """Mean area under :func:`~biasmatters.metrics.functional.deletion` curves; low is better.

    Args:
        model: The model that the maps explain; it is not registered as a submodule.
        steps: As for the function, and so are all others.

    Example:
        >>> import torch
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 3))
        >>> metric = Deletion(model, steps=4)
        >>> metric.update(torch.rand(5, 1, 4, 4), torch.rand(5, 4, 4))
        >>> metric.curve().scores.shape, bool(0 <= metric.compute() <= 1)
        (torch.Size([5, 5]), True)
    """

    higher_is_better: bool = False

    def __init__(
        self,
        model: Callable[[Tensor], Tensor],
        *,
        steps: int = 28,
        baseline: Baseline = "zero",
        order: Order = "signed",
        score: Score = "probability",
        chunk_size: int | None = None,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        curve = partial(
            deletion,
            model,
            steps=steps,
            baseline=baseline,
            order=order,
            score=score,
            chunk_size=chunk_size,
            seed=seed,
        )
        super().__init__(curve, **kwargs)


class Insertion(_Perturbation):
    """Mean area under :func:`~biasmatters.metrics.functional.insertion` curves; high is better.

    Args:
        model: The model that the maps explain; it is not registered as a submodule.
        steps: As for the function, and so are all others.

    Example:
        >>> import torch
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(144, 3))
        >>> metric = Insertion(model, steps=4)
        >>> metric.update(torch.rand(5, 1, 12, 12), torch.rand(5, 12, 12))
        >>> metric.curve().scores.shape, bool(0 <= metric.compute() <= 1)
        (torch.Size([5, 5]), True)
    """

    higher_is_better: bool = True

    def __init__(
        self,
        model: Callable[[Tensor], Tensor],
        *,
        steps: int = 28,
        baseline: Baseline = "blur",
        order: Order = "signed",
        score: Score = "probability",
        chunk_size: int | None = None,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        curve = partial(
            insertion,
            model,
            steps=steps,
            baseline=baseline,
            order=order,
            score=score,
            chunk_size=chunk_size,
            seed=seed,
        )
        super().__init__(curve, **kwargs)
