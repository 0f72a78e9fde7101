"""The random-logit test as a torchmetric."""

from __future__ import annotations

from biasmatters.metrics.functional.random_logit import random_logit
from biasmatters.metrics.gathering import PerImage


class RandomLogit(PerImage):
    """Mean likeness of a class's map to another's; low is better.

    Args:
        model: The model that is explained.
        method: Binds the method to it; `update` takes ``x, target``.
        settings: Keywords of :func:`~biasmatters.metrics.functional.random_logit.random_logit`.

    Example:
        >>> import torch
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(36, 3))
        >>> method = lambda net: lambda x, target: net[1].weight[target].view_as(x)
        >>> metric = RandomLogit(model, method, seed=1)
        >>> metric.update(torch.randn(5, 1, 6, 6))
        >>> metric.per_image().shape, bool(metric.compute() < 0.9)
        (torch.Size([5]), True)
    """

    function = staticmethod(random_logit)
    higher_is_better: bool = False
