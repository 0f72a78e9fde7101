"""Sensitivity-n and infidelity as torchmetrics."""

from __future__ import annotations

from biasmatters.metrics.functional.infidelity import infidelity
from biasmatters.metrics.functional.sensitivity_n import sensitivity_n, sensitivity_n_curve
from biasmatters.metrics.gathering import PerImage, PerImageCurve


class SensitivityN(PerImage):
    """Mean :func:`~biasmatters.metrics.functional.sensitivity_n`; high is better.

    Args:
        model: The model that the maps explain; `update` takes ``x, maps, target``.
        settings: Keywords of the function.

    Example:
        >>> import torch
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 3))
        >>> metric = SensitivityN(model, n=4)
        >>> metric.update(torch.rand(5, 1, 4, 4), torch.rand(5, 4, 4))
        >>> metric.per_image().shape, bool(-1 <= metric.compute() <= 1)
        (torch.Size([5]), True)
    """

    function = staticmethod(sensitivity_n)
    higher_is_better: bool = True


class SensitivityNCurve(PerImageCurve):
    """Mean area under :func:`~biasmatters.metrics.functional.sensitivity_n_curve`; high is better.

    Args:
        model: The model that the maps explain; `update` takes ``x, maps, target``.
        settings: Keywords of the function.

    Example:
        >>> import torch
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 3))
        >>> metric = SensitivityNCurve(model, sizes=[1, 2, 4], subsets=20)
        >>> metric.update(torch.rand(5, 1, 4, 4), torch.rand(5, 4, 4))
        >>> metric.curve().scores.shape, bool(-1 <= metric.compute() <= 1)
        (torch.Size([5, 3]), True)
    """

    function = staticmethod(sensitivity_n_curve)
    higher_is_better: bool = True


class Infidelity(PerImage):
    """Mean :func:`~biasmatters.metrics.functional.infidelity`; low is better.

    Args:
        model: The model that the maps explain; `update` takes ``x, maps, target``.
        settings: Keywords of the function.

    Example:
        >>> import torch
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 3))
        >>> metric = Infidelity(model, side=2)
        >>> metric.update(torch.rand(5, 1, 4, 4), torch.rand(5, 4, 4))
        >>> metric.per_image().shape, bool(metric.compute() > 0)
        (torch.Size([5]), True)
    """

    function = staticmethod(infidelity)
    higher_is_better: bool = False
