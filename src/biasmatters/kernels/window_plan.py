"""How `biasmatters.kernels.windows` goes through planes of a size."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from torch import Tensor

# How many numbers compiled loops take at once: what is left goes one by one, so that rooms are full
# steps.
STEP = 64
Plan = tuple[Any, ...]


def fits(
    x: Sequence[int], tau: Sequence[int], stride: Sequence[int], padding: Sequence[tuple[int, int]]
) -> bool:
    """Whether windows begin within their own rows, for sides of the input and of the output."""
    return (tau[1] - 1) * stride[1] < x[1] and min(map(min, padding)) >= 0


def plan_of(
    x: Tensor,
    tau: Tensor,
    taps: Tensor,
    padding: Sequence[tuple[int, int]],
    dilation: Sequence[int],
    stride: Sequence[int],
) -> Plan:
    """The plan for an input, an output and taps, as kernels take it; see `_planned`."""
    (top, _), (left, _) = padding
    sides = x.shape[2:], tau.shape[2:], taps.shape[2:]
    return _planned(*sides, (top, left), tuple(dilation), tuple(stride))


# The arrays are shared: nobody writes to them.
@lru_cache(32)
def _planned(
    sides: tuple[int, int],
    windows: tuple[int, int],
    kernel: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    stride: tuple[int, int],
) -> Plan:
    """How a plane is gone through.

    Returns:
        The numbers of columns of the input and of the output; how far two rows of the input, two
        rows of windows and two windows of a row are apart; how long a plane is down to the last row
        of windows, and in all; how much room is before it, and how long the room is. Then where in
        the room each tap begins, for what windows fetch and for what they hand back; and how far
        each row and each column of taps is off.
    """
    (height, width), (rows, columns) = sides, windows
    across = np.arange(kernel[1]) * dilation[1] - padding[1]
    # Zeros between two rows, for what taps fetch beyond the end of either.
    pitch = width + int(np.abs(across).max())
    down = (np.arange(kernel[0]) * dilation[0] - padding[0]) * pitch
    length, whole = _full(((rows - 1) * stride[0] + 1) * pitch), _full(height * pitch)
    away = (down[:, None] + across).reshape(-1)
    # Sums along rows and down columns apart meet what lies in between.
    before = _full(int(np.abs(down).max() + np.abs(across).max()))
    long = 2 * before + max(length, whole)
    plan = (width, columns, pitch, stride[0] * pitch, stride[1], length, whole, before, long)
    return plan, before + away, before - away, down, across


def _full(numbers: int) -> int:
    """Rounded up to full steps."""
    return -(-numbers // STEP) * STEP
