"""A score followed along the share of pixels changed."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Curve:
    """How the score of one class moves while pixels are replaced.

    Attributes:
        fractions: ``(points,)`` share of the pixels replaced so far, rising.
        scores: ``(N, points)`` score of the target class.
        auc: ``(N,)`` area under the curve by the trapezoidal rule over ``fractions``, divided by
            the width of their range (1 for curves that go from 0 to 1).
        target: ``(N,)`` the class that was followed.
    """

    fractions: Tensor
    scores: Tensor
    auc: Tensor
    target: Tensor

    @classmethod
    def of(cls, fractions: Tensor, scores: Tensor, target: Tensor) -> Curve:
        """The curve with its area.

        Args:
            fractions: ``(points,)``, rising; two or more.
            scores: ``(N, points)``.
            target: ``(N,)``.
        """
        fractions = fractions.to(scores)
        area = torch.trapezoid(scores, fractions, dim=1)
        return cls(fractions, scores, area / (fractions[-1] - fractions[0]), target)
