"""Shares of a sum over all places of a plane, as of a mean or a pool that leaves one place."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from biasmatters.kernels.machine_code import any_in, array, blank, compiled, limits_of, run

# Places that are added up at a time: a sum of sums keeps what one long sum would round off.
SPAN = 2048


@compiled
def _sum(even: bool, values: Any) -> Any:
    zero, one = values.dtype.type(0), values.dtype.type(1)
    total = zero
    for first in range(0, len(values), SPAN):
        v, part = values[first : first + SPAN], zero
        if even:
            for i in range(len(v)):
                part += one if v[i] != zero else zero
        else:
            for i in range(len(v)):
                part += abs(v[i])
        total += part
    return total


@compiled
def _split(
    start: int, stop: int, even: bool, factor: Any, x: Any, tau: Any, least: Any, beta: Any,
    lost: Any
) -> None:  # fmt: skip
    zero = x.dtype.type(0)
    for p in range(start, stop):
        v, gets, t, total = x[p], beta[p], tau[p], _sum(even, x[p])
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
        factor: The size of the coefficient that all have; where inputs count alike, 1, or 0 if it
            is 0.
        least: As in `biasmatters.kernels.shares.divide`.
        even: Whether inputs count alike.

    Returns:
        Like x, and the tau of rows without any input, None for none.
    """
    rows, beta, lost = tau.numel(), blank(x), blank(tau)
    values, left = array(x).reshape(rows, -1), array(lost).reshape(-1)
    bias, gets = array(tau).reshape(-1), array(beta).reshape(rows, -1)
    arrays = values, bias, limits_of(least, values), gets, left
    run(_split, rows, 2 * values.size, even, values.dtype.type(factor), *arrays)
    return beta, lost if any_in(left) else None
