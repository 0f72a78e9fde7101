"""Max-pools of two dimensions: bias goes to the first of a window's largest entries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from biasmatters.kernels.machine_code import blank, compiled, run


@compiled
def _route(
    start: int, stop: int, x: Any, y: Any, tau: Any, geometry: Any, out: Any, missed: Any
) -> None:
    kh, kw, sh, sw, ph, pw, dh, dw = geometry
    channels, height, width = x.shape[1:]
    zero = x.dtype.type(0)
    for p in range(start, stop):
        n, c = p // channels, p % channels
        values, best, bias, gets = x[n, c], y[n, c], tau[n, c], out[n, c]
        gets[:] = zero
        count = 0
        for oy in range(best.shape[0]):
            for ox in range(best.shape[1]):
                if bias[oy, ox] == zero:
                    continue
                found = False
                for ky in range(kh):
                    iy = oy * sh - ph + ky * dh
                    if found or iy < 0 or iy >= height:
                        continue
                    for kx in range(kw):
                        ix = ox * sw - pw + kx * dw
                        if 0 <= ix < width and values[iy, ix] == best[oy, ox]:
                            gets[iy, ix] += bias[oy, ox]
                            found = True
                            break
                count += 0 if found else 1
        missed[p] = count


def route(
    x: Tensor,
    y: Tensor,
    tau: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> Tensor | None:
    """Each output's bias, at the input it was copied from.

    Args:
        x: ``(N, C, H, W)``.
        y: The pool's output.
        tau: Like y.
        kernel: Of the pool, like all that follow, by axis.
        stride: Likewise.
        padding: Likewise.
        dilation: Likewise.

    Returns:
        Like x; None if an output with bias is in no entry of its window, as with NaN.
    """
    out = blank(x)
    missed = torch.zeros(x.shape[0] * x.shape[1], dtype=torch.int64)
    geometry = np.array([*kernel, *stride, *padding, *dilation], np.int64)
    arrays = [t.detach().numpy() for t in (x, y, tau)]
    run(_route, len(missed), x.numel(), *arrays, geometry, out.numpy(), missed.numpy())
    return None if int(missed.sum()) else out
