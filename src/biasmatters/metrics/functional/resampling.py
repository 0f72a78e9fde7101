"""Means over samples drawn with replacement, what every interval here is made from."""

from __future__ import annotations

import torch
from torch import Tensor

from biasmatters.metrics.functional._checks import MetricInputError, check_count

DRAWS_PER_BLOCK = 2**22


def resampled_means(values: Tensor, *, resamples: int = 2000, seed: int = 0) -> Tensor:
    """Means of samples drawn with replacement, the same draws for every column.

    With c[b, i] the times that draw b took sample i, the means are c @ values / N. Draws come in
    blocks of ``DRAWS_PER_BLOCK`` figures, which bounds the memory and changes nothing else.

    Args:
        values: ``(N, S)``, one row per sample, N >= 2.
        resamples: Number of draws of N samples.
        seed: Of a generator of its own.

    Returns:
        ``(resamples, S)``, float64 on the CPU.

    Raises:
        MetricInputError: For fewer than two samples, NaN or infinity, or no draws.

    Source:
        Efron, Tibshirani: An Introduction to the Bootstrap, 1993, chapter 6.

    Example:
        >>> import torch
        >>> means = resampled_means(torch.tensor([[0.0, 5.0], [1.0, 4.0]]), resamples=50)
        >>> means.sum(1).unique().tolist(), means[:, 0].unique().tolist()
        ([5.0], [0.0, 0.5, 1.0])
    """
    if values.ndim != 2 or len(values) < 2:
        raise MetricInputError(
            f"values of shape {tuple(values.shape)}: an interval needs (N, S) with N >= 2 samples."
        )
    check_count("resamples", resamples, 1)
    table = values.detach().cpu().double()
    if not bool(table.isfinite().all()):
        raise MetricInputError("values hold NaN or infinity; a mean of them has no interval.")
    n, generator, means = len(table), torch.Generator().manual_seed(seed), []
    rows = max(1, DRAWS_PER_BLOCK // n)
    for first in range(0, resamples, rows):
        draws = torch.randint(n, (min(rows, resamples - first), n), generator=generator)
        counts = torch.zeros(draws.shape, dtype=torch.float64)
        counts.scatter_add_(1, draws, torch.ones_like(counts))
        means.append(counts @ table / n)
    return torch.cat(means)


def check_confidence(confidence: float) -> None:
    """Refuse a confidence that is not strictly between 0 and 1.

    Raises:
        MetricInputError: If it is not.
    """
    if not 0 < confidence < 1:
        raise MetricInputError(f"confidence={confidence} must lie between 0 and 1.")


def percentiles(means: Tensor, confidence: float) -> tuple[Tensor, Tensor]:
    """The (1 -+ confidence)/2 quantiles of every column of ``(resamples, S)``.

    Raises:
        MetricInputError: If the confidence is not between 0 and 1.
    """
    check_confidence(confidence)
    tail = (1 - confidence) / 2
    low, high = torch.quantile(means, torch.tensor([tail, 1 - tail], dtype=means.dtype), dim=0)
    return low, high
