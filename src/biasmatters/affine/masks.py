"""Masks by arithmetic.

On a processor torch's ``where``, ``masked_fill``, comparisons and products with booleans go entry
by entry and cost four to ten times what a product of numbers does, which goes eight at a time. A
mask here is a tensor of 0 and 1 in the dtype of what it masks, and all values are finite.
"""

from __future__ import annotations

import torch
from torch import Tensor


def kept(values: Tensor, mask: Tensor) -> Tensor:
    """The values where a mask holds, 0 elsewhere."""
    return values * mask


def left_out(values: Tensor, mask: Tensor) -> Tensor:
    """The values where a mask does not hold, 0 elsewhere."""
    return torch.addcmul(values, values, mask, value=-1)


def above(values: Tensor, least: Tensor | float) -> Tensor:
    """1 where values are larger than the least, 0 elsewhere."""
    return torch.sub(values, least).sign_().clamp_min_(0)


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
