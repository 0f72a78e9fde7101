"""Max- and avg-sensitivity as torchmetrics."""

from __future__ import annotations

from biasmatters.metrics.functional.max_sensitivity import avg_sensitivity, max_sensitivity
from biasmatters.metrics.gathering import PerImage


class MaxSensitivity(PerImage):
    """Mean :func:`~biasmatters.metrics.functional.max_sensitivity`; low is better, but not alone.

    Args:
        explain: What made the maps; `update` takes ``x, maps, target``.
        settings: Keywords of the function.

    Example:
        >>> import torch
        >>> metric = MaxSensitivity(lambda x, target: x.square(), radius=0.1)
        >>> metric.update(torch.rand(5, 1, 4, 4), None, 0)
        >>> metric.per_image().shape, bool(metric.compute() > 0)
        (torch.Size([5]), True)
    """

    function = staticmethod(max_sensitivity)
    higher_is_better: bool = False


class AvgSensitivity(PerImage):
    """Mean :func:`~biasmatters.metrics.functional.avg_sensitivity`; low is better, but not alone.

    Args:
        explain: What made the maps; `update` takes ``x, maps, target``.
        settings: Keywords of the function.

    Example:
        >>> import torch
        >>> metric = AvgSensitivity(lambda x, target: torch.ones_like(x))
        >>> metric.update(torch.rand(5, 1, 4, 4), None, 0)
        >>> metric.compute()
        tensor(0.)
    """

    function = staticmethod(avg_sensitivity)
    higher_is_better: bool = False
