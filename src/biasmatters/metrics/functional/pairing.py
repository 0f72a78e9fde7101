"""All pairs of methods on the same pictures, and two ways to judge their differences."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from biasmatters.metrics.functional.holm import holm
from biasmatters.metrics.functional.step_down import step_down
from biasmatters.metrics.functional.student import (
    from_normal_score,
    normal_score,
    two_sided,
    upper_quantile,
)

# A spread of the differences below this share of the largest score is round-off, no spread.
RESOLUTION = 1e-10


@dataclass(frozen=True)
class Pairing:
    """The P = M (M - 1) / 2 pairs of M methods, row by row of the upper triangle.

    Attributes:
        first: ``(P,)`` index of each pair's first method.
        second: ``(P,)`` index of its second.
        gap: ``(P,)`` mean difference, first minus second; 0 where it is round-off.
        spread: ``(P,)`` standard deviation of the difference over pictures, divisor N; 0 where
            it is round-off.
        n: Number of pictures N.
    """

    first: Tensor
    second: Tensor
    gap: Tensor
    spread: Tensor
    n: int

    @classmethod
    def of(cls, table: Tensor, means: Tensor) -> Pairing:
        """The pairs of scores, one method against all later ones at a time.

        Args:
            table: ``(M, N)`` float64, one row per method.
            means: ``(M,)`` of its rows.
        """
        first, second = torch.triu_indices(len(table), len(table), 1)
        rows = [(row - table[i:]).std(1, correction=0) for i, row in enumerate(table[:-1], 1)]
        largest = table.abs().amax(1)
        noise = RESOLUTION * torch.maximum(largest[first], largest[second])
        spread, gap = torch.cat([table.new_zeros(0), *rows]), means[first] - means[second]
        flat = spread <= noise
        gap = gap.masked_fill(flat & (gap.abs() <= noise), 0)
        return cls(first, second, gap, spread.masked_fill(flat, 0), table.shape[1])

    @property
    def student(self) -> Tensor:
        """``(P,)`` of |t|: infinity for a difference without spread, 0 for none at all."""
        t = self.gap.abs() * math.sqrt(self.n - 1) / self.spread
        return t.masked_fill(self.gap == 0, 0)

    def by_bootstrap(self, draws: Tensor, confidence: float) -> tuple[Tensor, Tensor]:
        """Step-down max-t over the joint bootstrap.

        Args:
            draws: ``(B, M)`` resampled means minus the observed.
            confidence: Between 0 and 1.

        Returns:
            Adjusted p-values and half-widths of simultaneous intervals, ``(P,)`` each.
        """
        if not len(self.gap):
            return self.gap, self.gap
        error = (self.spread / math.sqrt(self.n)).masked_fill(self.spread == 0, torch.inf)
        score = normal_score(self.student, self.n - 1)
        found = step_down(
            draws, self.first, self.second, error=error, score=score, confidence=confidence
        )
        return found.p_values, self._half(from_normal_score(found.critical, self.n - 1))

    def by_student(self, confidence: float, *, corrected: bool) -> tuple[Tensor, Tensor]:
        """Paired t-tests, each by itself or corrected by Holm's method.

        Args:
            confidence: Between 0 and 1.
            corrected: Whether p-values are Holm's, and intervals Bonferroni's.

        Returns:
            P-values and half-widths, ``(P,)`` each.
        """
        p_values, tests = two_sided(self.student, self.n - 1), 1
        if corrected:
            p_values, tests = holm(p_values), max(1, len(p_values))
        return p_values, self._half(upper_quantile((1 - confidence) / (2 * tests), self.n - 1))

    def _half(self, t: float) -> Tensor:
        """Half-widths ``(P,)`` of t standard errors of the mean difference."""
        return t * self.spread / math.sqrt(self.n - 1)
