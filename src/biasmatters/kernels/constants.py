"""Constants per channel between a mixing operation and a bend: what they come to, and their share.

By numpy, which takes less time than torch for so few numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from biasmatters.kernels.machine_code import array


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
        None for 1.
    """
    shifts: list[Any] = []
    gain: Any = None
    with np.errstate(all="ignore"):
        for slope, shift in laws:
            if shift is not None:
                values = array(shift.to(like.dtype))
                shifts.append(values if gain is None else values * gain)
            if slope is not None:
                values = array(slope.to(like.dtype))
                gain = values if gain is None else values * gain
        stacked = np.array(shifts) if shifts else array(like.new_empty(0, like.shape[1]))
        stacked[np.isinf(stacked)] = 0  # the gradient that meets them is 0
        shift = torch.from_numpy(np.add.reduce(stacked, 0))
    return torch.from_numpy(stacked), shift, None if gain is None else torch.from_numpy(gain)


def slopes_of(gain: Tensor | None, like: Tensor) -> Any:
    """A gain ``(C,)`` as kernels take it, None for 1, in the format of ``(N, C, *space)``."""
    if gain is None:
        return _ones(like.shape[1], like.dtype)
    return np.ascontiguousarray(array(gain.to(like.dtype)))


@lru_cache(maxsize=64)
def _ones(count: int, dtype: torch.dtype) -> Any:
    """Slopes of 1; nobody may write to them."""
    return torch.ones(count, dtype=dtype, device="cpu").numpy()


def weigh(
    sums: Tensor, shifts: Tensor, *, holds: bool
) -> tuple[list[tuple[Tensor, Tensor]], tuple[Tensor, Tensor] | None]:
    """What constants put in.

    Args:
        sums: ``(N, C, 5)`` as `biasmatters.kernels.bends.weigh` finds them.
        shifts: ``(k, C)`` as `compose` does.
        holds: Whether a constant may be held at the bend.

    Returns:
        The bias of each shift and the sum of its sizes, ``(N,)`` each; and both for what units hold
        at the bend, None where nothing is held.
    """
    values = sums.numpy()
    passed, passed_size = values[..., 2], values[..., 3]
    with np.errstate(all="ignore"):
        found = [(passed @ shift, passed_size @ np.abs(shift)) for shift in shifts.numpy()]
        held = np.add.reduce(values[..., :2], 1) if holds else None
    rows = [(torch.from_numpy(share), torch.from_numpy(size)) for share, size in found]
    if held is None:
        return rows, None
    return rows, (torch.from_numpy(held[:, 0]), torch.from_numpy(held[:, 1]))
