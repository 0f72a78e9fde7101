"""Slopes that follow a layer, as a few numbers for each unit."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

AT_MOST = 2


def levels(
    scale: Tensor | None, tau: Tensor, unit_axis: int
) -> Iterator[tuple[Tensor, Tensor | None]]:
    """The values that ``|scale|`` takes along each unit, if they are few.

    Behind a ReLU and a batch-norm a channel's slope is 0 or one number, behind a leaky ReLU one of
    two; a smooth activation has as many as there are places, and those are left out.

    Args:
        scale: Like tau, or None for 1.
        tau: Bias of the units.
        unit_axis: The axis of tau along which coefficients differ.

    Yields:
        ``(P,)`` values and the places where they hold (None: everywhere).
    """
    axis = unit_axis % tau.ndim
    units = tau.shape[axis]
    if scale is None:
        yield tau.new_ones(units), None
        return
    left = scale.abs().expand_as(tau)
    others = [a for a in range(tau.ndim) if a != axis]
    shape = [1] * tau.ndim
    shape[axis] = units
    for _ in range(AT_MOST):
        values = left.amax(others)
        if not bool((values > 0).any()):
            return
        here = (left == values.reshape(shape)) & (left > 0)
        yield values, here
        left = left.masked_fill(here, 0)
