"""Operations in a few numbers, for those that compiled loops can take together."""

from __future__ import annotations

import math

from torch import Tensor

from biasmatters.affine.sealed import sealed


@sealed
class PerChannel:
    """``slope[c] z + shift[c]``: batch-norm in evaluation, the bias of a layer.

    Attributes:
        slope: ``(C,)``, None for 1.
        shift: ``(C,)``, None for 0.
    """

    slope: Tensor | None = None
    shift: Tensor | None = None


@sealed
class Bend:
    """``z`` itself between two bounds, else the bound: ReLU, ReLU6, hard tanh.

    Attributes:
        low: The lower bound.
        high: The upper one, which may be infinite.
        holds: Whether a bound is a constant that counts as bias, as that of ReLU does not.
    """

    low: float = -math.inf
    high: float = math.inf
    holds: bool = True


Law = PerChannel | Bend
