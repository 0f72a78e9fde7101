"""Chebyshev series at many numbers, in memory that is used again."""

from __future__ import annotations

import torch
from torch import Tensor

# Numbers that a series is evaluated for at a time.
CHUNK = 1 << 17


class Terms:
    """``T_j(2 t - 1)`` for j below a degree, at numbers t in [0, 1], and sums of them.

    The signs go ``+ + - -``, so that each term is a sum: ``S_j = S_{j-2} +- 2 (2 t - 1) S_{j-1}``.

    Args:
        degree: Number of terms.
        like: Of the dtype and device to work in.
    """

    def __init__(self, degree: int, like: Tensor) -> None:
        self.degree = degree
        self.signs = [(1.0, 1.0, -1.0, -1.0)[j % 4] for j in range(degree)]
        self._room = like.new_empty(0)

    def prepared(self, coefficients: Tensor, like: Tensor) -> Tensor:
        """``(r, n)`` coefficients as ``(r, degree)``, for terms with these signs."""
        wide = coefficients.new_zeros(len(coefficients), len(self.signs))
        wide[:, : coefficients.shape[1]] = coefficients
        return (wide * wide.new_tensor(self.signs)).to(like)

    def at(self, values: Tensor, weights: Tensor | None = None) -> Tensor:
        """``(degree, E)`` terms with their signs, which stand until the next call.

        Args:
            values: ``(E,)`` the t.
            weights: ``(E,)`` to multiply all terms with.
        """
        wanted = (len(self.signs) + 1) * len(values)
        if self._room.numel() < wanted:
            self._room = values.new_empty(wanted)
        room = self._room[:wanted].view(-1, len(values))
        terms, twice = room[:-1], room[-1]
        torch.mul(values, 4, out=twice).sub_(2)
        if weights is None:
            terms[0] = 1
        else:
            terms[0] = weights
        if len(terms) > 1:
            torch.mul(twice, terms[0], out=terms[1]).mul_(0.5)
        for j in range(2, len(terms)):
            sign = self.signs[j] * self.signs[j - 1]
            torch.addcmul(terms[j - 2], twice, terms[j - 1], value=sign, out=terms[j])
        return terms
