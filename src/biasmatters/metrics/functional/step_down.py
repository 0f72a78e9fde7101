"""Step-down max-t: p-values of many dependent comparisons at once, from one joint bootstrap."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

FIGURES_PER_BLOCK = 2**20


@dataclass(frozen=True)
class StepDown:
    """What the maxima of a joint bootstrap say.

    Attributes:
        p_values: ``(P,)`` adjusted for all P pairs, two-sided.
        critical: What the largest of all P statistics stays below with the confidence asked for.
    """

    p_values: Tensor
    critical: float


def step_down(
    means: Tensor, first: Tensor, second: Tensor, *, error: Tensor, score: Tensor, confidence: float
) -> StepDown:
    """Adjusted p-values of paired differences by the step-down max-t of the joint bootstrap.

    Let z*[b, p] = |m[b, first_p] - m[b, second_p]| / error_p for the centred resampled means m,
    and sort the pairs by the observed score z_(1) >= ... >= z_(P). Then

        p_(k) = max_{j <= k} (1 + #{b: max_{l >= j} z*[b, (l)] >= z_(j)}) / (B + 1).

    Each step asks for the maximum over the pairs not yet passed only, which is what finds more
    than one maximum over all would.

    Args:
        means: ``(B, M)`` resampled means minus the observed, one draw of pictures per row.
        first: ``(P,)`` column of each pair's first method.
        second: ``(P,)`` column of its second.
        error: ``(P,)`` standard error of the difference of resampled means; infinity takes a pair
            out of the maxima.
        score: ``(P,)`` observed statistics, >= 0; infinity is possible.
        confidence: Between 0 and 1, for the critical value.

    Source:
        Romano, Wolf 2005, Stepwise multiple testing as formalized data snooping, Econometrica 73;
        Westfall, Young 1993, Resampling-based multiple testing (both recalled).

    Example:
        >>> import torch
        >>> means = torch.tensor([[0.0, 1.0], [0.0, -3.0], [0.0, 0.5]]).double()
        >>> pair = torch.tensor([0]), torch.tensor([1])
        >>> one = torch.ones(1).double()
        >>> step_down(means, *pair, error=one, score=2 * one, confidence=0.5)
        StepDown(p_values=tensor([0.5000], dtype=torch.float64), critical=1.0)
    """
    draws, pairs = len(means), len(score)
    ascending, order = score.sort()
    left, right, scale = first[order], second[order], error[order]
    reached, largest = torch.zeros(pairs, dtype=torch.int64), []
    rows = max(1, FIGURES_PER_BLOCK // pairs)
    for start in range(0, draws, rows):
        block = means[start : start + rows]
        peaks = (block[:, left] - block[:, right]).abs_().div_(scale).cummax(1).values
        reached += (peaks >= ascending).sum(0)
        largest.append(peaks[:, -1].clone())  # a view would keep the block
    steps = (1 + reached).double() / (draws + 1)
    steps = steps.flip(0).cummax(0).values.flip(0)
    p_values = torch.empty_like(steps).scatter_(0, order, steps)
    # Rounding must not push a product that is whole, as 0.95 * 2000, to the next rank.
    rank = math.ceil((draws + 1) * confidence - 1e-9)
    return StepDown(p_values, float(torch.cat(largest).kthvalue(rank).values))
