"""Shares of a sum over all places of a plane, as of a mean or a pool that leaves one place."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from biasmatters.kernels.machine_code import array, compiled, run


@compiled
def _split(
    start: int, stop: int, even: bool, factor: Any, x: Any, tau: Any, least: Any, beta: Any,
    lost: Any
) -> None:  # fmt: skip
    zero, one = x.dtype.type(0), x.dtype.type(1)
    for p in range(start, stop):
        v, gets, t, total = x[p], beta[p], tau[p], zero
        if even:
            for i in range(len(v)):
                total += one if v[i] != zero else zero
        else:
            for i in range(len(v)):
                total += abs(v[i])
        lives = total * factor > max(least[1], least[0] * abs(t))
        lost[p] = zero if lives else t
        each = t / total if lives else zero
        if even:
            for i in range(len(v)):
                gets[i] = each if v[i] != zero else zero
        else:
            for i in range(len(v)):
                gets[i] = each * abs(v[i])


def split(
    x: Tensor, tau: Tensor, factor: float, least: tuple[float, float], *, even: bool
) -> tuple[Tensor, Tensor | None]:
    """Split tau in proportion to the size of each input, or evenly over those that are not 0.

    Args:
        x: ``(*rows, *places)``, in torch's own order.
        tau: ``(*rows, 1, ...)``.
        factor: The size of the coefficient that all have, 1 where they count alike.
        least: As in `biasmatters.kernels.shares.divide`.
        even: Whether inputs count alike.

    Returns:
        Like x, and the tau of rows without any input, None for none.
    """
    rows, beta, lost = tau.numel(), x.new_empty(x.shape), tau.new_empty(tau.shape)
    values, left = array(x).reshape(rows, -1), array(lost).reshape(-1)
    numbers = np.array([factor, *least], values.dtype)
    arrays = values, array(tau).reshape(-1), numbers[1:], array(beta).reshape(rows, -1), left
    run(_split, rows, 2 * values.size, even, numbers[0], *arrays)
    return beta, lost if left.any() else None
