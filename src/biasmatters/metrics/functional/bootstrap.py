"""How sure a mean over samples is, and whether two means differ."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from biasmatters.metrics.functional._checks import MetricInputError
from biasmatters.metrics.functional.resampling import percentiles, resampled_means


@dataclass(frozen=True)
class Interval:
    """A mean with its interval.

    Attributes:
        value: Mean over the samples.
        low: Lower end.
        high: Upper end.
        n: Number of samples.
        confidence: Coverage the interval aims at.
    """

    value: float
    low: float
    high: float
    n: int
    confidence: float


@dataclass(frozen=True)
class Band:
    """A mean curve with an interval at each of its points.

    Attributes:
        value: ``(S,)`` mean over the samples.
        low: ``(S,)`` lower ends, pointwise.
        high: ``(S,)`` upper ends.
        n: Number of samples.
        confidence: Coverage each interval aims at.
    """

    value: Tensor
    low: Tensor
    high: Tensor
    n: int
    confidence: float


@dataclass(frozen=True)
class Difference(Interval):
    """The mean of paired differences, first minus second.

    Attributes:
        p_value: Two-sided, from the share of resampled means on the far side of zero.
    """

    p_value: float

    @property
    def separates(self) -> bool:
        """Whether the interval excludes zero."""
        return self.low > 0 or self.high < 0


def bootstrap_interval(
    values: Tensor, *, confidence: float = 0.95, resamples: int = 2000, seed: int = 0
) -> Interval:
    """Percentile-bootstrap interval of a mean.

    Samples are drawn with replacement, ``resamples`` times; the ends are the (1 -+ confidence)/2
    quantiles of the means.

    Args:
        values: ``(N,)``, one figure per sample, N >= 2.
        confidence: Between 0 and 1.
        resamples: Number of draws of N samples.
        seed: Of a generator of its own.

    Returns:
        Mean and interval, computed in float64.

    Raises:
        MetricInputError: For fewer than two samples, NaN, or a confidence outside (0, 1).

    Source:
        Efron, Tibshirani: An Introduction to the Bootstrap, 1993, chapter 13.

    Example:
        >>> import torch
        >>> interval = bootstrap_interval(torch.arange(100.0))
        >>> interval.value, interval.low < 49.5 < interval.high
        (49.5, True)
    """
    if values.ndim != 1:
        raise MetricInputError(f"values have the shape {tuple(values.shape)}, expected (N,).")
    band = bootstrap_band(values[:, None], confidence=confidence, resamples=resamples, seed=seed)
    return Interval(band.value.item(), band.low.item(), band.high.item(), band.n, confidence)


def bootstrap_band(
    values: Tensor, *, confidence: float = 0.95, resamples: int = 2000, seed: int = 0
) -> Band:
    """Percentile-bootstrap interval at every point of a mean curve; whole curves are resampled.

    Args:
        values: ``(N, S)``, one curve per sample, N >= 2.
        confidence: Between 0 and 1.
        resamples: Number of draws of N samples.
        seed: Of a generator of its own.

    Returns:
        Mean curve and pointwise interval, float64 on the CPU.

    Raises:
        MetricInputError: As for :func:`bootstrap_interval`.

    Example:
        >>> import torch
        >>> bootstrap_band(torch.ones(5, 3)).low.tolist()
        [1.0, 1.0, 1.0]
    """
    means = resampled_means(values, resamples=resamples, seed=seed)
    low, high = percentiles(means, confidence)
    value = values.detach().cpu().double().mean(0)
    return Band(value, low, high, len(values), confidence)


def paired_bootstrap(
    first: Tensor,
    second: Tensor,
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Difference:
    """Interval of the mean difference of two figures taken on the same samples.

    The pairs are resampled, so what makes a sample hard for both cancels; p = 2 min(P(m <= 0),
    P(m >= 0)) over the resampled means m, with one added to both counts.

    Args:
        first: ``(N,)``.
        second: ``(N,)``, in the same order of samples.
        confidence: Between 0 and 1.
        resamples: Number of draws of N pairs.
        seed: Of a generator of its own.

    Returns:
        Mean of first - second, its interval and p-value.

    Raises:
        MetricInputError: If the shapes differ, and as for :func:`bootstrap_interval`.

    Example:
        >>> import torch
        >>> hard = torch.linspace(0, 100, 50)
        >>> paired_bootstrap(hard + 1, hard).separates
        True
    """
    if first.shape != second.shape or first.ndim != 1:
        raise MetricInputError(
            f"pairs need two tensors of one shape (N,), got {tuple(first.shape)} and "
            f"{tuple(second.shape)}."
        )
    gap = first.detach().cpu().double() - second.detach().cpu().double()
    means = resampled_means(gap[:, None], resamples=resamples, seed=seed)
    low, high = (end.item() for end in percentiles(means, confidence))
    side = min(int((means <= 0).sum()), int((means >= 0).sum()))
    p_value = min(1.0, 2 * (side + 1) / (resamples + 1))
    return Difference(gap.mean().item(), low, high, len(gap), confidence, p_value)
