"""Constants per channel between a mixing operation and a bend: what they come to, and their share.

By loops and numpy, which take less time than torch for so few numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from biasmatters.kernels.machine_code import array, compiled


@compiled
def _add_up(shifts: Any, total: Any) -> None:
    zero = shifts.dtype.type(0)
    for c in range(shifts.shape[1]):
        total[c] = zero
        for k in range(shifts.shape[0]):
            # The gradient that meets an infinite one is 0.
            shifts[k, c] = zero if np.isinf(shifts[k, c]) else shifts[k, c]
            total[c] += shifts[k, c]


@compiled
def _weigh(sums: Any, shifts: Any, out: Any) -> None:
    zero, count = sums.dtype.type(0), shifts.shape[0]
    for n in range(sums.shape[0]):
        values = sums[n]
        for k in range(count):
            share, size = zero, zero
            for c in range(values.shape[0]):
                share += values[c, 2] * shifts[k, c]
                size += values[c, 3] * abs(shifts[k, c])
            out[k, 0, n], out[k, 1, n] = share, size
        held, held_size = zero, zero
        for c in range(values.shape[0]):
            held += values[c, 0]
            held_size += values[c, 1]
        out[count, 0, n], out[count, 1, n] = held, held_size


def compose(
    laws: Sequence[tuple[Tensor | None, Tensor | None]], like: Tensor
) -> tuple[Tensor, Tensor, Tensor | None]:
    """What ``slope[c] z + shift[c]``, one behind the other, come to.

    Args:
        laws: Slope and shift, ``(C,)`` each, None for 1 and 0; the last operation first.
        like: ``(N, C, *space)``, of which format and shape are looked at.

    Returns:
        ``(k, C)`` what each of the k shifts comes to behind the last operation, infinities as 0;
        what they come to together, ``(C,)``; and the slope from before the first one, likewise,
        None for 1. They may be memory of the laws'.
    """
    shifts: list[Any] = []
    gain: Any = None
    for slope, shift in laws:
        if shift is not None:
            shifts.append(_times(_as_array(shift, like), gain))
        if slope is not None:
            gain = _times(_as_array(slope, like), gain)
    composed = None if gain is None else torch.from_numpy(gain)
    if len(shifts) == 1 and np.isfinite(shifts[0]).all():
        only = torch.from_numpy(shifts[0])
        return only.unsqueeze(0), only, composed
    stacked = np.array(shifts) if shifts else array(like.new_empty(0, like.shape[1]))
    total = np.empty(stacked.shape[1], stacked.dtype)
    _add_up(stacked, total)
    return torch.from_numpy(stacked), torch.from_numpy(total), composed


def _times(values: Any, gain: Any) -> Any:
    """Behind a slope, None for 1."""
    if gain is None:
        return values
    with np.errstate(all="ignore"):
        return values * gain


def _as_array(values: Tensor, like: Tensor) -> Any:
    """In the format of another tensor."""
    return array(values if values.dtype == like.dtype else values.to(like.dtype))


def no_zero(gain: Tensor) -> bool:
    """Whether no slope is 0."""
    return int(np.count_nonzero(gain.numpy())) == gain.numel()


def slopes_of(gain: Tensor | None, like: Tensor) -> Any:
    """A gain ``(C,)`` as kernels take it, None for 1, in the format of ``(N, C, *space)``."""
    if gain is None:
        return _ones(like.shape[1], like.dtype)
    return np.ascontiguousarray(_as_array(gain, like))


@lru_cache(maxsize=64)
def _ones(count: int, dtype: torch.dtype) -> Any:
    """Slopes of 1; nobody may write to them."""
    return torch.ones(count, dtype=dtype, device="cpu").numpy()


def weigh(sums: Tensor, shifts: Tensor, *, holds: bool) -> Tensor:
    """What constants put in.

    Args:
        sums: ``(N, C, 5)`` as `biasmatters.kernels.bends.weigh` finds them.
        shifts: ``(k, C)`` as `compose` does.
        holds: Whether a constant may be held at the bend.

    Returns:
        ``(k, 2, N)`` the bias of each shift and the sum of its sizes; ``(k + 1, 2, N)``, where a
        constant may be held, with that and those of what units hold at the bend.
    """
    values, constants = sums.numpy(), shifts.numpy()
    count = len(constants)
    out = np.empty((count + 1, 2, len(values)), values.dtype)
    _weigh(values, constants, out)
    return torch.from_numpy(out if holds else out[:count])
