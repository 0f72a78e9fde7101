"""Two tensors that meet unit by unit: each unit's bias split over the two, in one pass."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from torch import Tensor

from biasmatters.kernels.machine_code import any_in, blank, compiled, limits_of, run
from biasmatters.kernels.shares import ROW, flat, present, strand

Shares = Literal["even", "by size"]


@compiled
def _meet(
    start: int, stop: int, row: int, even: bool, tau: Any, x: Any, y: Any, m: Any, least: Any,
    to_x: Any, to_y: Any, lost: Any
) -> None:  # fmt: skip
    zero, one = tau.dtype.type(0), tau.dtype.type(1)
    # Read once: in the loop each could have been changed by what is written.
    of_x, of_y, relative, absolute = m[0], m[1], least[0], least[1]
    for r in range(start, stop):
        part = slice(r * row, (r + 1) * row)
        t, a, b, to_a, to_b = tau[part], x[part], y[part], to_x[part], to_y[part]
        left = zero
        for i in range(len(t)):
            first, second = abs(a[i] * of_x), abs(b[i] * of_y)
            if even:
                first = one if first != zero else zero
                second = one if second != zero else zero
            total = first + second
            lives = total > max(absolute, relative * abs(t[i]))
            given = t[i] if lives else zero
            left += abs(t[i] - given)
            each = given / (total if lives else one)
            to_a[i] = first * each
            to_b[i] = second * each
        lost[r] = left


def meet(
    tau: Tensor,
    values: tuple[Tensor, Tensor],
    factors: tuple[float, float],
    shares: Shares,
    least: tuple[float, float],
) -> tuple[tuple[Tensor, Tensor], Tensor | None]:
    """Split bias over two branches.

    Args:
        tau: Bias of each unit.
        values: What meets in it, each like tau.
        factors: By which they are multiplied.
        shares: ``even`` over those that are not 0, or in proportion to their sizes.
        least: As in `biasmatters.kernels.shares.divide`.

    Returns:
        What the branches get, and the tau that meets no branch, None for none.
    """
    out = blank(tau), blank(tau)
    lost, streams = tau.new_empty(-(-tau.numel() // ROW)), [flat(t) for t in (tau, *values)]
    run(
        _meet,
        len(lost),
        tau.numel(),
        ROW,
        shares == "even",
        *streams,
        np.array(factors, streams[0].dtype),
        limits_of(least, streams[0]),
        *(flat(t) for t in out),
        lost.numpy(),
    )
    if not any_in(lost.numpy()):
        return out, None
    first, second = ((v * f).abs() for v, f in zip(values, factors, strict=True))
    if shares == "even":
        first, second = present(first), present(second)
    return out, strand(tau, first + second, least)
