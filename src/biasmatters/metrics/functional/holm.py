"""Holm's correction of p-values for many tests."""

from __future__ import annotations

import torch
from torch import Tensor

from biasmatters.metrics.functional._checks import MetricInputError


def holm(p_values: Tensor) -> Tensor:
    """P-values adjusted for being many, by Holm's step-down of Bonferroni's correction.

    With p_(1) <= ... <= p_(P): adjusted p_(k) = min(1, max_{j <= k} (P - j + 1) p_(j)). Whoever
    rejects what is adjusted to at most alpha makes any false rejection with a probability of at
    most alpha, however the tests depend on each other.

    Args:
        p_values: ``(P,)`` between 0 and 1.

    Returns:
        ``(P,)`` in the same order, never below the given.

    Raises:
        MetricInputError: If the shape is another, or a value lies outside [0, 1].

    Source:
        Holm 1979, A simple sequentially rejective multiple test procedure, Scandinavian Journal
        of Statistics 6 (recalled).

    Example:
        >>> import torch
        >>> holm(torch.tensor([0.03, 0.01, 0.04], dtype=torch.float64)).tolist()
        [0.06, 0.03, 0.06]
    """
    if p_values.ndim != 1:
        raise MetricInputError(f"p_values have the shape {tuple(p_values.shape)}, expected (P,).")
    if not bool(((p_values >= 0) & (p_values <= 1)).all()):
        raise MetricInputError("p_values must lie between 0 and 1; find out what made others.")
    ordered, order = p_values.sort()
    left = torch.arange(len(ordered), 0, -1, device=p_values.device)
    steps = (left * ordered).clamp_max(1)
    if len(steps):
        steps = steps.cummax(0).values
    return torch.empty_like(steps).scatter_(0, order, steps)
