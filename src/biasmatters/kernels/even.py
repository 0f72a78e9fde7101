"""Even shares of bias above a bend, over the windows of all channels at once.

Units whose coefficients are all there count the inputs of all channels in their window, so one
plane of counts and one plane of sums stand for all of them, and what a place is given is the same
for every channel.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np
from torch import Tensor

from biasmatters.kernels import channels
from biasmatters.kernels.machine_code import any_in, blank, limits_of, run_all, stacks, summed
from biasmatters.kernels.window_plan import plan_of
from biasmatters.kernels.windows import finish_lost, split_planes


def split_bent(
    x: Tensor,
    bent: tuple[Tensor, Tensor, Tensor, Tensor, Tensor],
    weight: Tensor,
    apart: Tensor,
    padding: Sequence[tuple[int, int]],
    dilation: Sequence[int],
    stride: Sequence[int],
    least: tuple[float, float],
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Split the bias below a bend evenly; what units without any input have goes to all in reach.

    Args:
        x: ``(N, C, H, W)``, of sides that `biasmatters.kernels.window_plan.fits`.
        bent: As in `biasmatters.kernels.bends.carry`: beta, grad, y, shift and bounds.
        weight: ``(P, C, kh, kw)``, of which the shape is looked at.
        apart: Numbers of the units that are left out.
        padding: Before and after, for each axis.
        dilation: For each axis.
        stride: Likewise.
        least: As in `biasmatters.kernels.shares.divide`.

    Returns:
        Like x; the size of the bias that went evenly to all, ``(N,)``; and the sum of what has no
        input in reach at all, likewise; None for nothing.
    """
    inputs, above = stacks(x), channels.arrays_of(bent)
    units = channels.all_but(apart, bent[2].shape[1])
    adding, (sums, mass, count) = channels.sum_bent(above, inputs, units)
    plan = plan_of(x, bent[2], weight, padding, dilation, stride)
    how = _ones(prod(weight.shape[2:]), inputs.dtype), plan
    limits, plane, lost = limits_of(least, inputs), np.empty_like(count), np.empty_like(sums[0])
    splitting, missed = split_planes(count, sums[0], *how, "count", limits, plane, lost)
    out = blank(x)
    giving = channels.hand_out(inputs, plane, None, stacks(out))
    # Where no constant is held, as good as always nothing is left to give besides.
    holds = any_in(above[-1][2:])
    run_all(adding, splitting, *([] if holds else [giving]))
    if finish_lost(missed, lost):
        sizes = channels.sum_sizes(above, units)
        sizes[lost == 0] = 0
        mass = np.concatenate([mass, sizes], 1)
        with np.errstate(all="ignore"):
            sums[1] += lost
    if not any_in(mass):
        if holds:
            run_all(giving)
        return out, None, None
    rest = np.empty_like(plane)
    splitting, missed = split_planes(count, sums[1], *how, "everything", limits, rest, lost)
    run_all(splitting)
    rest /= x.shape[1]
    run_all(channels.hand_out(inputs, plane, rest, stacks(out)))
    return out, summed(mass, 1), summed(lost, 1) if finish_lost(missed, lost) else None


@lru_cache(maxsize=64)
def _ones(taps: int, form: Any) -> Any:
    """As many taps that are all there; nobody may write to them."""
    return np.ones((1, taps), form)
