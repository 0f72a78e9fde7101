"""Masks by arithmetic.

On a processor torch's ``where``, ``masked_fill``, ``count_nonzero``, comparisons that make booleans
and products with booleans go entry by entry and cost four to ten times what a product of numbers
does, which goes eight at a time, as a comparison does that writes numbers. A mask here is a tensor
of 0 and 1 in the dtype of what it masks, and all values are finite.
"""

from __future__ import annotations

import torch
from torch import Tensor

from biasmatters.affine.device import is_apart
from biasmatters.affine.pieces import pieces
from biasmatters.affine.speculation import Assumptions, current


def kept(values: Tensor, mask: Tensor) -> Tensor:
    """The values where a mask holds, 0 elsewhere."""
    return values * mask


def left_out(values: Tensor, mask: Tensor) -> Tensor:
    """The values where a mask does not hold, 0 elsewhere."""
    return torch.addcmul(values, values, mask, value=-1)


def above(values: Tensor, least: Tensor | float) -> Tensor:
    """1 where values are larger than the least, which broadcasts to them, 0 elsewhere."""
    return torch.gt(values, least, out=torch.empty_like(values))


def present(x: Tensor) -> Tensor:
    """1 where x is not 0, in its dtype."""
    return differs(x, 0)


def differs(x: Tensor, other: Tensor | float) -> Tensor:
    """1 where x is not the other, which broadcasts to it, 0 elsewhere."""
    return torch.ne(x, other, out=torch.empty_like(x))


def below(values: Tensor, least: Tensor | float) -> Tensor:
    """1 where values are smaller than the least, which broadcasts to them, 0 elsewhere."""
    return torch.lt(values, least, out=torch.empty_like(values))


def once(x: Tensor) -> Tensor:
    """A number that is shown in many places, in one of them: axes of stride 0 have the length 1."""
    steps = x.stride()
    if 0 not in steps:
        return x
    shape = [min(n, 1) if step == 0 else n for n, step in zip(x.shape, steps, strict=True)]
    return x.as_strided(shape, steps)


def all_present(x: Tensor) -> bool:
    """Whether no entry is 0."""
    if is_apart(x):
        return bool(once(x).all())
    return all(float(present(part).amin()) == 1 for (part,) in pieces(once(x)) if part.numel())


def present_throughout(x: Tensor) -> bool:
    """Whether few numbers are shown in many places, and none of them is 0."""
    few = once(x)
    return few.numel() < x.numel() and all_present(few)


def passing(scale: Tensor | None) -> Tensor | None:
    """1 where a slope is not 0; None if no slope is 0 and that is seen without looking at all.

    Behind a batch-norm alone a channel has one slope, which is hardly ever 0. It is not looked at
    where that has to wait.
    """
    if scale is None or (current() is None and present_throughout(scale)):
        return None
    return present(once(scale))


def count(x: Tensor) -> int:
    """How many entries are not 0."""
    if is_apart(x):
        return int(x.count_nonzero())
    return sum(int(present(part).sum()) for (part,) in pieces(x))


def barrier(x: Tensor, value: float) -> Tensor:
    """``|x|`` with another value, such as infinity, where x is 0."""
    return torch.threshold_(x.abs(), 0, value)


def any_left(values: Tensor) -> bool:
    """Whether any entry is not 0."""
    if not values.numel():
        return False
    if is_apart(values):
        return bool(values.any())
    low, high = values.aminmax()
    return not (float(low) == 0 == float(high))


def none_left(values: Tensor) -> bool:
    """Whether all entries are 0, or are taken to be; some may be 0 as well where they are not."""
    assumed = current()
    if assumed is None:
        return not any_left(values)
    if assumed.none_stranded:
        assumed.zero(values)
    return assumed.none_stranded


def assume_live(
    assumed: Assumptions, tau: Tensor, total: Tensor, least: float, scale: Tensor | None
) -> None:
    """Take units to have no bias whose contributions come to nothing, or whose slope is 0.

    Then it makes no difference which these are.

    Args:
        assumed: Where to note it.
        tau: Bias of each unit.
        total: What each unit's contributions come to, which broadcasts to tau.
        least: Up to which that is nothing.
        scale: Slope of each unit, None for 1.
    """
    dead = total <= least
    if scale is not None:
        dead = dead | (once(scale) == 0)
    assumed.zero(tau * dead)


def unless_empty(values: Tensor) -> Tensor | None:
    """The values, None if all of them are 0."""
    return values if any_left(values) else None


def largest(values: Tensor) -> float:
    """The largest size of an entry, 0 of none."""
    if not values.numel():
        return 0.0
    if is_apart(values):
        return float(torch.linalg.vector_norm(values, torch.inf))
    low, high = values.aminmax()
    return max(-float(low), float(high))
