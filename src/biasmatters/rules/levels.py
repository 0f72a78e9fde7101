"""Slopes that follow a layer, as a few numbers for each unit."""

from __future__ import annotations

import torch
from torch import Tensor

from biasmatters.affine.masks import any_left, count, differs, present


def levels(scale: Tensor | None, tau: Tensor, unit_axis: int) -> tuple[list[Tensor], bool]:
    """The values that ``|scale|`` takes along each unit: the largest, and the smallest above 0.

    Behind a ReLU and a batch-norm a channel's slope is 0 or one number, behind a leaky ReLU one of
    two; a smooth activation has as many as there are places, and the others are left out.

    Args:
        scale: Like tau, or None for 1.
        tau: Bias of the units.
        unit_axis: The axis of tau along which coefficients differ.

    Returns:
        At most two tensors ``(P,)``; a unit that lacks the second level has -1 there. None where
        they would cover less than half of the slopes. And whether there is one, for all slopes.
    """
    axis = unit_axis % tau.ndim
    if scale is None:
        return [tau.new_ones(tau.shape[axis])], True
    size = scale.expand_as(tau).abs()
    others = [a for a in range(tau.ndim) if a != axis]
    largest = size.amax(others) if others else size
    if not bool((largest > 0).any()):
        return [], False
    shape = [-1 if a == axis else 1 for a in range(tau.ndim)]
    smaller = differs(size, largest.reshape(shape)).mul_(present(size))
    if not any_left(smaller):
        return [largest], True
    if not others:
        return [], False
    slopes = count(size)
    covered = slopes - count(smaller)
    smallest = size.where(size > 0, torch.inf).amin(others)
    second = smallest.masked_fill(smallest >= largest, -1)
    if bool((second > 0).any()):
        covered += size.numel() - count(differs(size, second.reshape(shape)))
        return ([largest, second] if 2 * covered >= slopes else []), False
    return ([largest] if 2 * covered >= slopes else []), False
