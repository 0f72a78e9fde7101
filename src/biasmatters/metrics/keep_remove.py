"""Keep and remove as torchmetrics."""

from __future__ import annotations

from functools import partial

from biasmatters.metrics.functional.keep_remove import keep_remove
from biasmatters.metrics.gathering import PerImageCurve


class Keep(PerImageCurve):
    """Mean area under :func:`~biasmatters.metrics.functional.keep_remove` curves, keeping.

    Only the most salient pixels are shown; high is better.

    Args:
        model: The model that the maps explain; `update` takes ``x, maps, target``.
        settings: Keywords of the function but ``mode``.

    Example:
        >>> import torch
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 3))
        >>> metric = Keep(model, baseline="zero")
        >>> metric.update(torch.rand(5, 1, 4, 4), torch.rand(5, 4, 4))
        >>> metric.curve().scores.shape
        torch.Size([5, 16])
    """

    function = staticmethod(partial(keep_remove, mode="keep"))
    higher_is_better: bool = True


class Remove(PerImageCurve):
    """Mean area under :func:`~biasmatters.metrics.functional.keep_remove` curves, removing.

    The most salient pixels are gone; low is better.

    Args:
        model: The model that the maps explain; `update` takes ``x, maps, target``.
        settings: Keywords of the function but ``mode``.

    Example:
        >>> import torch
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 3))
        >>> metric = Remove(model, baseline="zero")
        >>> metric.update(torch.rand(5, 1, 4, 4), torch.rand(5, 4, 4))
        >>> metric.curve().scores.shape
        torch.Size([5, 16])
    """

    function = staticmethod(partial(keep_remove, mode="remove"))
    higher_is_better: bool = False
