"""IROF as a torchmetric."""

from __future__ import annotations

from torch import Tensor

from biasmatters.metrics.functional.irof import area_over, irof
from biasmatters.metrics.gathering import PerImageCurve


class Irof(PerImageCurve):
    """Mean area over :func:`~biasmatters.metrics.functional.irof.irof` curves; high is better.

    Args:
        model: The model that the maps explain; `update` takes ``x, maps, target``.
        settings: Keywords of the function.

    Example:
        >>> import torch
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(144, 3))
        >>> metric = Irof(model, segments=9, steps=10)
        >>> metric.update(torch.rand(5, 1, 12, 12), torch.rand(5, 12, 12))
        >>> metric.curve().scores.shape
        torch.Size([5, 11])
        >>> torch.testing.assert_close(metric.compute(), 1 - metric.curve().auc.mean())
    """

    function = staticmethod(irof)
    higher_is_better: bool = True

    def compute(self) -> Tensor:
        """Mean area over the curve, a scalar."""
        return area_over(self.curve()).mean()
