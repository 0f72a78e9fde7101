"""Bias above a bend, before anybody has written down what goes on below it."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache

import torch
from torch import Tensor

from biasmatters import kernels
from biasmatters.affine.law import Bend
from biasmatters.affine.sealed import sealed


@sealed
class Bent:
    """What arrived above a bend, and what constants put in below it.

    Attributes:
        beta: ``(N, C, *space)`` what arrived, None for nothing.
        grad: The gradient there, None where no constant meets it.
        y: The value there.
        shift: ``(C,)`` the constant below the bend.
        bend: None where there is none.
        floor: What the mixing operation's inputs are known not to lie below.
    """

    beta: Tensor | None
    grad: Tensor | None
    y: Tensor
    shift: Tensor
    bend: Bend | None
    floor: float = -math.inf

    def written_out(self) -> tuple[Tensor, Tensor | None, Tensor]:
        """The bias of the units below the bend.

        Returns:
            What they hand on, like y; what they do not because they hold a bound, None for
            nothing; and the size of the latter, ``(N,)``.
        """
        bounds = bounds_of(self.bend, self.y)
        share, lost = kernels.bends.carry(self.beta, self.grad, self.y, self.shift, bounds)
        mass = lost.sum(1)
        if not mass.numpy().any():
            return share, None, mass
        return share, kernels.bends.strand(self.beta, self.grad, self.y, bounds), mass

    def at(self, units: Tensor) -> Bent:
        """That of some units, whose numbers are given."""
        beta = None if self.beta is None else self.beta.index_select(1, units)
        grad = None if self.grad is None else self.grad.index_select(1, units)
        y, shift = self.y.index_select(1, units), self.shift.index_select(0, units)
        return replace(self, beta=beta, grad=grad, y=y, shift=shift)

    def parts(self) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """As kernels take it: what arrived, the gradient, the value, the constant and the bend."""
        bounds = bounds_of(self.bend, self.y)
        beta = torch.zeros_like(self.y) if self.beta is None else self.beta
        if self.grad is not None:
            return beta, self.grad, self.y, self.shift, bounds
        # A constant of 0 takes any gradient.
        bounds = bounds.clone()
        bounds[2:] = 0
        return beta, beta, self.y, torch.zeros_like(self.shift), bounds


def bounds_of(bend: Bend | None, like: Tensor) -> Tensor:
    """A bend as kernels take it: its bounds, and the constants that are held there.

    Nobody may write to it: it is the same for all layers with such a bend.
    """
    bend = Bend() if bend is None else bend
    return _bounds(bend.low, bend.high, like.dtype)


@lru_cache(maxsize=64)
def _bounds(low: float, high: float, dtype: torch.dtype) -> Tensor:
    held = [0.0 if math.isinf(bound) else bound for bound in (low, high)]
    return torch.tensor([low, high, *held], dtype=dtype, device="cpu")
