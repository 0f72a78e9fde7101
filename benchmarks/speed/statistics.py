"""From times to figures: medians, quartiles and exponents."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, median, quantiles


@dataclass(frozen=True)
class Summary:
    """What paired times come to.

    Attributes:
        seconds: Median time of the method.
        forward_seconds: Median time of a forward pass in the same rounds.
        ratio: Median over rounds of one by the other.
        low, high: Quartiles of that ratio over rounds.
        rounds: How many.
    """

    seconds: float
    forward_seconds: float
    ratio: float
    low: float
    high: float
    rounds: int


def summarise(works: Sequence[float], forwards: Sequence[float]) -> Summary:
    """Medians and quartiles of times in pairs.

    Args:
        works: Seconds of the method, by round.
        forwards: Seconds of a forward pass in the same rounds.
    """
    ratios = [work / forward for work, forward in zip(works, forwards, strict=True)]
    middle = median(ratios)
    low, high = middle, middle
    if len(ratios) > 1:
        low, _, high = quantiles(ratios, n=4, method="inclusive")
    return Summary(median(works), median(forwards), middle, low, high, len(ratios))


@dataclass(frozen=True)
class Fit:
    """``seconds ~ size ** exponent``.

    Attributes:
        exponent: Slope on log-log axes.
        error: Its standard error; NaN with two points.
        points: How many.
    """

    exponent: float
    error: float
    points: int


def fit_exponent(sizes: Sequence[float], seconds: Sequence[float]) -> Fit | None:
    """Least squares of ``log seconds`` on ``log size``; None with fewer than two sizes."""
    x = [math.log(size) for size in sizes]
    y = [math.log(value) for value in seconds]
    if len(set(x)) < 2:
        return None
    mx, my = mean(x), mean(y)
    spread = sum((a - mx) ** 2 for a in x)
    slope = sum((a - mx) * (b - my) for a, b in zip(x, y, strict=True)) / spread
    left = sum((b - my - slope * (a - mx)) ** 2 for a, b in zip(x, y, strict=True))
    free = len(x) - 2
    error = math.sqrt(left / free / spread) if free else math.nan
    return Fit(slope, error, len(x))
