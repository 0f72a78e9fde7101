"""How `biasmatters.kernels.windows` goes through planes of a size."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from torch import Tensor

from biasmatters.kernels.machine_code import planes

# How many numbers compiled loops take at once: what is left goes one by one, so that rooms are full
# steps.
STEP = 64


def fits(
    x: Sequence[int], tau: Sequence[int], stride: Sequence[int], padding: Sequence[tuple[int, int]]
) -> bool:
    """Whether windows begin within their own rows, for sides of the input and of the output."""
    inside = (tau[1] - 1) * stride[1] < x[1]
    return inside and all(n >= 0 for pair in padding for n in pair)


def plan_of(
    x: Tensor,
    tau: Tensor,
    taps: Tensor,
    padding: Sequence[tuple[int, int]],
    dilation: Sequence[int],
    stride: Sequence[int],
) -> tuple[Any, ...]:
    """The plan for an input, an output and taps, as kernels take it; see `_planned`."""
    return _planned(
        *(tuple(t.shape[2:]) for t in (x, tau, taps)),
        tuple(before for before, _ in padding),
        tuple(dilation),
        tuple(stride),
        planes(x).dtype,
    )


# The arrays are shared: nobody writes to them.
@lru_cache(32)
def _planned(
    sides: tuple[int, int],
    windows: tuple[int, int],
    kernel: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    stride: tuple[int, int],
    dtype: Any,
) -> tuple[Any, ...]:
    """How a plane is gone through.

    Returns:
        The width of the output, how far the windows of two rows and of two columns are apart, how
        long a plane is down to the last row of windows and in all, how many copies are made, and
        how long each is. Then how much room is before a plane, how far each column and each row of
        taps is off, and for each column 1 where it stays within a row, for what windows fetch and
        for what they hand back. Then where in the copies each tap begins, for both.
    """
    (height, width), (rows, columns) = sides, windows
    down = np.arange(kernel[0]) * dilation[0] - padding[0]
    across = np.arange(kernel[1]) * dilation[1] - padding[1]
    length, whole = _full(((rows - 1) * stride[0] + 1) * width), _full(height * width)
    size, away = max(length, whole), down[:, None] * width + across
    before = int(max(np.abs(away).max(), np.abs(down).max() * width, np.abs(across).max()))
    long = 2 * before + size
    room = np.arange(len(across)) * long + before
    plan = (columns, stride[0] * width, stride[1], length, whole, len(across) + 1, long)
    # What a tap fetches lies its own distance to the right of the window that it is for.
    places = np.arange(size) % width + np.stack([-across, across])[:, :, None]
    fetch, hand = ((places >= 0) & (places < width)).astype(dtype)
    way = (before, across, down * width, fetch, hand)
    return plan, way, (room + away).reshape(-1), (room - away).reshape(-1)


def _full(numbers: int) -> int:
    """Rounded up to full steps."""
    return -(-numbers // STEP) * STEP
