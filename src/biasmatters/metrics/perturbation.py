"""Deletion and insertion as torchmetrics."""

from __future__ import annotations

from biasmatters.metrics.functional import deletion, insertion
from biasmatters.metrics.gathering import PerImageCurve


class Deletion(PerImageCurve):
    """Mean area under :func:`~biasmatters.metrics.functional.deletion` curves; low is better.

    Args:
        model: The model that the maps explain; `update` takes ``x, maps, target``.
        settings: Keywords of the function.

    Example:
        >>> import torch
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 3))
        >>> metric = Deletion(model, steps=4)
        >>> metric.update(torch.rand(5, 1, 4, 4), torch.rand(5, 4, 4))
        >>> metric.curve().scores.shape, bool(0 <= metric.compute() <= 1)
        (torch.Size([5, 5]), True)
    """

    function = staticmethod(deletion)
    higher_is_better: bool = False


class Insertion(PerImageCurve):
    """Mean area under :func:`~biasmatters.metrics.functional.insertion` curves; high is better.

    Args:
        model: The model that the maps explain; `update` takes ``x, maps, target``.
        settings: Keywords of the function.

    Example:
        >>> import torch
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(144, 3))
        >>> metric = Insertion(model, steps=4)
        >>> metric.update(torch.rand(5, 1, 12, 12), torch.rand(5, 12, 12))
        >>> metric.curve().scores.shape, bool(0 <= metric.compute() <= 1)
        (torch.Size([5, 5]), True)
    """

    function = staticmethod(insertion)
    higher_is_better: bool = True
