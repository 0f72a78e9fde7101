"""Dense layers at small batches: each row of weights is read once and used while in cache."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from biasmatters.kernels.machine_code import array, compiled, limits_of, run


@compiled
def _total(even: bool, w: Any, s: Any) -> Any:
    total = w.dtype.type(0)
    if even:
        for q in range(len(w)):
            total += s[q] if w[q] != 0 else w.dtype.type(0)
    else:
        for q in range(len(w)):
            total += s[q] * abs(w[q])
    return total


@compiled
def _hand_out(even: bool, w: Any, each: Any, gets: Any) -> None:
    if even:
        for q in range(len(w)):
            gets[q] += each if w[q] != 0 else w.dtype.type(0)
    else:
        for q in range(len(w)):
            gets[q] += each * abs(w[q])


@compiled
def _rows(
    start: int, stop: int, parts: int, even: bool, weight: Any, sizes: Any, tau: Any, least: Any,
    beta: Any, lost: Any
) -> None:  # fmt: skip
    units, zero = weight.shape[0], weight.dtype.type(0)
    for part in range(start, stop):
        for p in range(part * units // parts, (part + 1) * units // parts):
            for n in range(tau.shape[0]):
                t = tau[n, p]
                if t != zero:
                    total = _total(even, weight[p], sizes[n])
                    if total > max(least[1], least[0] * abs(t)):
                        _hand_out(even, weight[p], t / total, beta[part, n])
                    else:
                        lost[n, p] = t


def split(
    weight: Tensor, sizes: Tensor, tau: Tensor, least: tuple[float, float], *, even: bool
) -> tuple[Tensor, Tensor | None]:
    """Split tau in proportion to ``|w[p, q]| s[q]``, or to ``1[w[p, q] != 0] s[q]``.

    Args:
        weight: ``(P, Q)``.
        sizes: ``(N, Q)`` s, not negative.
        tau: ``(N, P)``; where it is 0 nothing is read.
        least: As in `biasmatters.kernels.shares.divide`.
        even: Whether weights count alike.

    Returns:
        ``(N, Q)``, and the tau of units that have no inputs, None for none.
    """
    parts = max(1, min(torch.get_num_threads(), weight.numel() >> 18))
    values, counts, bias = array(weight), array(sizes), array(tau)
    beta, lost = np.zeros((parts, *counts.shape), bias.dtype), np.zeros_like(bias)
    arrays = values, counts, bias, limits_of(least, bias), beta, lost
    run(_rows, parts, values.size * len(bias), parts, even, *arrays)
    with np.errstate(all="ignore"):
        total = np.add.reduce(beta, 0) if parts > 1 else beta[0]
        total *= counts
    return torch.from_numpy(total), torch.from_numpy(lost) if lost.any() else None
