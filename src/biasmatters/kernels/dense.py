"""Dense layers at small batches: each row of weights is read once and used while in cache."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from biasmatters.kernels.machine_code import any_in, array, compiled, limits_of, run, summed


@compiled
def _total(even: bool, w: Any, x: Any) -> Any:
    zero, one = w.dtype.type(0), w.dtype.type(1)
    total = zero
    if even:
        for q in range(len(w)):
            total += one if (w[q] != zero) & (x[q] != zero) else zero
    else:
        for q in range(len(w)):
            total += abs(w[q]) * abs(x[q])
    return total


@compiled
def _hand_out(even: bool, w: Any, each: Any, gets: Any) -> None:
    zero = w.dtype.type(0)
    if even:
        for q in range(len(w)):
            gets[q] += each if w[q] != zero else zero
    else:
        for q in range(len(w)):
            gets[q] += each * abs(w[q])


@compiled
def _weigh(even: bool, x: Any, gets: Any) -> None:
    """What the inputs themselves have to do with it, once for all units."""
    zero = x.dtype.type(0)
    if even:
        for q in range(len(x)):
            gets[q] = gets[q] if x[q] != zero else zero
    else:
        for q in range(len(x)):
            gets[q] *= abs(x[q])


@compiled
def _rows(
    start: int, stop: int, parts: int, even: bool, weight: Any, x: Any, tau: Any, least: Any,
    beta: Any, lost: Any
) -> None:  # fmt: skip
    units, zero = weight.shape[0], weight.dtype.type(0)
    for part in range(start, stop):
        for p in range(part * units // parts, (part + 1) * units // parts):
            for n in range(tau.shape[0]):
                t = tau[n, p]
                if t != zero:
                    total = _total(even, weight[p], x[n])
                    if total > max(least[1], least[0] * abs(t)):
                        _hand_out(even, weight[p], t / total, beta[part, n])
                    else:
                        lost[n, p] = t
        for n in range(tau.shape[0]):
            _weigh(even, x[n], beta[part, n])


def split(
    weight: Tensor, x: Tensor, tau: Tensor, least: tuple[float, float], *, even: bool
) -> tuple[Tensor, Tensor | None]:
    """Split tau in proportion to ``|w[p, q] x[q]|``, or to ``1[w[p, q] x[q] != 0]``.

    Args:
        weight: ``(P, Q)``.
        x: ``(N, Q)``.
        tau: ``(N, P)``; where it is 0 nothing is read.
        least: As in `biasmatters.kernels.shares.divide`.
        even: Whether connections count alike.

    Returns:
        ``(N, Q)``, and the tau of units that have no inputs, None for none.
    """
    parts = max(1, min(torch.get_num_threads(), weight.numel() >> 18))
    values, inputs, bias = array(weight), array(x), array(tau)
    beta, lost = np.zeros((parts, *inputs.shape), bias.dtype), np.zeros(bias.shape, bias.dtype)
    arrays = values, inputs, bias, limits_of(least, bias), beta, lost
    run(_rows, parts, values.size * len(bias), parts, even, *arrays)
    total = summed(beta, 0) if parts > 1 else torch.from_numpy(beta[0])
    return total, torch.from_numpy(lost) if any_in(lost) else None
