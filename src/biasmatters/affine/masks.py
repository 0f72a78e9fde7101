"""Masks by arithmetic.

On a processor torch's ``where`` and ``masked_fill`` go entry by entry and cost ten times what a
product does, which goes eight at a time. All values here are finite.
"""

from __future__ import annotations

import torch
from torch import Tensor


def kept(values: Tensor, mask: Tensor) -> Tensor:
    """The values where a mask holds, 0 elsewhere."""
    return values * mask


def present(x: Tensor) -> Tensor:
    """1 where x is not 0, in its dtype."""
    return x.sign().abs_()


def barrier(x: Tensor, value: float) -> Tensor:
    """``|x|`` with another value, such as infinity, where x is 0."""
    return torch.threshold_(x.abs(), 0, value)


def any_left(values: Tensor) -> bool:
    """Whether any entry is not 0."""
    if not values.numel():
        return False
    low, high = values.aminmax()
    return not (float(low) == 0 == float(high))


def largest(values: Tensor) -> float:
    """The largest size of an entry, 0 of none."""
    if not values.numel():
        return 0.0
    low, high = values.aminmax()
    return max(-float(low), float(high))
