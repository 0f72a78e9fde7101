"""Patches of a picture added up, as the transpose of a convolution has them.

Each row of the picture is gathered by itself. Where windows are several columns apart, the columns
are kept by their remainders meanwhile, so that a patch's row is added where it lies side by side.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from biasmatters.kernels.machine_code import array, compiled, run


@compiled
def _fold(
    start: int, stop: int, patches: Any, sides: Any, kernel: Any, steps: Any, out: Any
) -> None:
    (height, width), (rows, columns) = (sides[0], sides[1]), (sides[2], sides[3])
    down, across, above, before = kernel[0], kernel[1], kernel[2], kernel[3]
    dilation, stride = (steps[0], steps[1]), (steps[2], steps[3])
    margin = -(-before // stride[1])
    long = margin + max(columns + across * dilation[1] // stride[1], width // stride[1]) + 1
    apart = np.empty((stride[1], long), out.dtype)
    for k in range(start, stop):
        plane, y = k // height, k % height
        apart[:] = out.dtype.type(0)
        for i in range(down):
            place = y + above - i * dilation[0]
            row = place // stride[0]
            if place % stride[0] == 0 and 0 <= row < rows:
                for j in range(across):
                    shift = j * dilation[1] - before
                    first = margin + shift // stride[1]
                    total = apart[shift % stride[1], first : first + columns]
                    v = patches[plane, i * across + j, row * columns : (row + 1) * columns]
                    for c in range(columns):
                        total[c] += v[c]
        o = out[plane, y * width : (y + 1) * width]
        for remainder in range(stride[1]):
            values = apart[remainder, margin:]
            for c in range(-(-(width - remainder) // stride[1])):
                o[c * stride[1] + remainder] = values[c]


def fold(
    patches: Tensor,
    like: Tensor,
    windows: Sequence[int],
    kernel: Sequence[int],
    padding: Sequence[tuple[int, int]],
    dilation: Sequence[int],
    stride: Sequence[int],
) -> Tensor:
    """Add up what windows hold for each place of a picture.

    Args:
        patches: ``(N, C kh kw, H' W')``, one column for each window.
        like: ``(N, C, H, W)``, of which the shape is looked at.
        windows: ``(H', W')``.
        kernel: ``(kh, kw)``.
        padding: Before and after, for each axis.
        dilation: For each axis.
        stride: Likewise.
    """
    batch, channels, height, width = like.shape
    out = patches.new_empty(batch, channels, height, width)
    columns = array(patches).reshape(batch * channels, kernel[0] * kernel[1], -1)
    run(
        _fold,
        batch * channels * height,
        patches.numel(),
        columns,
        np.array([height, width, *windows], np.int64),
        np.array([*kernel, *(before for before, _ in padding)], np.int64),
        np.array([*dilation, *stride], np.int64),
        array(out).reshape(batch * channels, height * width),
    )
    return out
