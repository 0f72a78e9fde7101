"""What lies around a window of the last two axes."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from biasmatters.kernels.machine_code import compiled, run


@compiled
def _sum(start: int, stop: int, values: Any, window: Any, sums: Any) -> None:
    top, bottom, left, right = window
    zero = values.dtype.type(0)
    for p in range(start, stop):
        total, size = zero, zero
        for row in range(values.shape[1]):
            v = values[p, row]
            inside = top <= row < bottom
            for i in range(left if inside else len(v)):
                total += v[i]
                size += abs(v[i])
            for i in range(right if inside else len(v), len(v)):
                total += v[i]
                size += abs(v[i])
        sums[p, 0], sums[p, 1] = total, size


def border_sums(values: Tensor, window: tuple[int, int, int, int]) -> Tensor:
    """Sums over what lies outside the window.

    Args:
        values: ``(N, *rest, H, W)``.
        window: First row, the one after the last, first column, the one after the last.

    Returns:
        ``(N, 2)`` the sums of the values and of their sizes.
    """
    planes = values.reshape(-1, *values.shape[-2:])
    sums = values.new_empty(len(planes), 2)
    run(_sum, len(planes), values.numel(), planes.numpy(), np.array(window), sums.numpy())
    return sums.reshape(len(values), -1, 2).sum(1)
