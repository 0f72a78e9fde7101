"""What each unit hands out for every input it counts, and masks, in one pass over memory each."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from biasmatters.kernels.machine_code import array, blank, compiled, limits_of, run

# Numbers that are worked on at a time.
ROW = 1 << 13


@compiled
def _divide(start: int, stop: int, row: int, tau: Any, total: Any, least: Any, lost: Any) -> None:
    zero, one = tau.dtype.type(0), tau.dtype.type(1)
    relative, absolute = least[0], least[1]
    for r in range(start, stop):
        part = slice(r * row, (r + 1) * row)
        t, d = tau[part], total[part]
        left = zero
        for i in range(len(t)):
            lives = d[i] > max(absolute, relative * abs(t[i]))
            given = t[i] if lives else zero
            left += abs(t[i] - given)
            d[i] = given / (d[i] if lives else one)
        lost[r] = left


@compiled
def _strand(start: int, stop: int, row: int, tau: Any, total: Any, least: Any, out: Any) -> None:
    zero = tau.dtype.type(0)
    relative, absolute = least[0], least[1]
    for r in range(start, stop):
        part = slice(r * row, (r + 1) * row)
        t, d, o = tau[part], total[part], out[part]
        for i in range(len(t)):
            o[i] = zero if d[i] > max(absolute, relative * abs(t[i])) else t[i]


@compiled
def _present(start: int, stop: int, row: int, x: Any, out: Any) -> None:
    zero, one = x.dtype.type(0), x.dtype.type(1)
    for r in range(start, stop):
        v, o = x[r * row : (r + 1) * row], out[r * row : (r + 1) * row]
        for i in range(len(v)):
            o[i] = one if v[i] != zero else zero


@compiled
def _any_zero(values: Any) -> bool:
    zero, found = values.dtype.type(0), 0
    for i in range(len(values)):
        found += 1 if values[i] == zero else 0
    return found > 0


@compiled
def _zeros(weight: Any, by_row: Any, by_column: Any) -> None:
    zero = weight.dtype.type(0)
    for row in range(weight.shape[0]):
        for column in range(weight.shape[1]):
            found, values = 0, weight[row, column]
            for i in range(len(values)):
                found += 1 if values[i] == zero else 0
            by_row[row] += found
            by_column[column] += found


def flat(tensor: Tensor) -> Any:
    """All numbers as one array."""
    return array(tensor).reshape(-1)


def _run(kernel: Any, like: Tensor, *arguments: Any) -> None:
    run(kernel, -(-like.numel() // ROW), like.numel(), ROW, *arguments)


def divide(tau: Tensor, total: Tensor, least: tuple[float, float]) -> tuple[Tensor, Tensor | None]:
    """``tau / total`` where there is a total, in its place.

    Args:
        tau: Bias of each unit.
        total: Like it, not negative; it is written over.
        least: What counts as no total: up to the first times ``|tau|``, and up to the second.

    Returns:
        The quotient, and the tau that meets no total, None for none.
    """
    lost, share, bias = tau.new_empty(-(-tau.numel() // ROW)), total.contiguous(), flat(tau)
    _run(_divide, tau, bias, flat(share), limits_of(least, bias), flat(lost))
    # A quotient is 0 only where there was no total, or no bias.
    return share, tau.masked_fill(share != 0, 0) if bool((lost != 0).any()) else None


def strand(tau: Tensor, total: Tensor, least: tuple[float, float]) -> Tensor:
    """The tau that meets no total, 0 elsewhere; as in `divide`."""
    out, bias = blank(tau), flat(tau)
    _run(_strand, tau, bias, flat(total), limits_of(least, bias), flat(out))
    return out


def present(x: Tensor) -> Tensor:
    """1 where x is not 0, else 0."""
    out = blank(x)
    _run(_present, x, flat(x), flat(out))
    return out


def zeros(weight: Tensor) -> tuple[Tensor, Tensor] | None:
    """How many zeros each row and each column of ``(rows, columns, *rest)`` has, None without."""
    if not _any_zero(flat(weight)):
        return None
    rows = array(weight).reshape(*weight.shape[:2], -1)
    by_row, by_column = np.zeros(rows.shape[0], np.int64), np.zeros(rows.shape[1], np.int64)
    _zeros(rows, by_row, by_column)
    return torch.from_numpy(by_row), torch.from_numpy(by_column)
