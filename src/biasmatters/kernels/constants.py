"""Constants per channel between a mixing operation and a bend: what they come to, and their share.

By numpy, which takes less time than torch for so few numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from biasmatters.kernels.machine_code import array, summed


def compose(
    laws: Sequence[tuple[Tensor | None, Tensor | None]], like: Tensor
) -> tuple[Tensor, Tensor | None]:
    """What ``slope[c] z + shift[c]``, one behind the other, come to.

    Args:
        laws: Slope and shift, ``(C,)`` each, None for 1 and 0; the last operation first.
        like: ``(N, C, *space)``, of which format and shape are looked at.

    Returns:
        ``(k, C)`` what each of the k shifts comes to behind the last operation, infinities as 0;
        and the slope from before the first one, ``(C,)``, None for 1.
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
    return torch.from_numpy(stacked), None if gain is None else torch.from_numpy(gain)


def slopes_of(gain: Tensor | None, like: Tensor) -> Any:
    """A gain ``(C,)`` as kernels take it, None for 1, in the format of ``(N, C, *space)``."""
    values = like.new_ones(like.shape[1]) if gain is None else gain.to(like.dtype)
    return np.ascontiguousarray(array(values))


def weigh(
    sums: Tensor, shifts: Tensor
) -> tuple[list[tuple[Tensor, Tensor]], tuple[Tensor, Tensor]]:
    """What constants put in.

    Args:
        sums: ``(N, C, 5)`` as `biasmatters.kernels.bends.weigh` finds them.
        shifts: ``(k, C)`` as `compose` does.

    Returns:
        The bias of each shift and the sum of its sizes, ``(N,)`` each; and both for what units hold
        at the bend.
    """
    values, constants = sums.numpy(), shifts.numpy()
    held, held_size, passed, passed_size = (values[..., i] for i in range(4))
    with np.errstate(all="ignore"):
        found = constants @ passed.T, np.abs(constants) @ passed_size.T
    rows = list(zip(*map(torch.from_numpy, found), strict=True))
    return rows, (summed(held, 1), summed(held_size, 1))
