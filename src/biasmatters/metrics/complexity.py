"""Sparseness and entropy of maps as torchmetrics."""

from __future__ import annotations

from biasmatters.metrics.functional.complexity import complexity_entropy, sparseness
from biasmatters.metrics.gathering import PerImage


class Sparseness(PerImage):
    """Mean :func:`~biasmatters.metrics.functional.sparseness`; high is sparser.

    Args:
        settings: Keywords of `torchmetrics.Metric`; `update` takes ``maps``.

    Example:
        >>> import torch
        >>> metric = Sparseness()
        >>> metric.update(torch.tensor([[[0.0, 0.0], [0.0, -5.0]]]))
        >>> metric.compute()
        tensor(0.7500)
    """

    function = staticmethod(sparseness)
    higher_is_better: bool = True


class ComplexityEntropy(PerImage):
    """Mean :func:`~biasmatters.metrics.functional.complexity_entropy`; low is simpler.

    Args:
        settings: Keywords of the function; `update` takes ``maps``.

    Example:
        >>> import torch
        >>> metric = ComplexityEntropy(relative=True)
        >>> metric.update(torch.ones(1, 2, 2))
        >>> metric.compute()
        tensor(1.)
    """

    function = staticmethod(complexity_entropy)
    higher_is_better: bool = False
