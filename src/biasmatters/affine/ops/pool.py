"""Pooling and resampling."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from biasmatters import kernels
from biasmatters.affine.call import Call
from biasmatters.affine.errors import UnsupportedOperationError
from biasmatters.affine.form import Form, Split, routing, unknown_gap
from biasmatters.affine.ops.conv import spread
from biasmatters.affine.ops.reduce import by_matrices, in_one
from biasmatters.affine.ops.windows import adaptive_gap, fixed_gap
from biasmatters.affine.registry import decomposes, handles


@handles("max_pool1d", "max_pool2d", "max_pool3d",
         "max_pool1d_with_indices", "max_pool2d_with_indices",
         "max_pool3d_with_indices")  # fmt: skip
def max_pool(call: Call) -> Form:
    """The bias goes to the input that autograd takes as the largest."""
    form = routing(call, gap=lambda: fixed_gap(call, int(call.op[8])))

    def pull(tau: Tensor, split: Split) -> tuple[Tensor, ...]:
        found = _routed(call, tau) if call.op == "max_pool2d" else None
        return form.pull(tau, split) if found is None else (found,)

    return replace(form, pull=pull)


def _routed(call: Call, tau: Tensor) -> Tensor | None:
    """Bias at the largest entries, by a kernel; None where it cannot be used."""
    x, y = call.inputs[0].detach(), call.output.detach()
    if x.ndim != 4 or call.index or not kernels.fit(x, y, tau):
        return None
    size = spread(call.arg(1, "kernel_size"), 2)
    stride = spread(call.arg(2, "stride") or size, 2)
    padding, dilation = (spread(call.arg(i, k, d), 2) for i, k, d in _PLACING)
    return kernels.pools.route(x, y, tau, size, stride, padding, dilation)


# Place, name and default of two of a pool's arguments.
_PLACING = ((3, "padding", 0), (4, "dilation", 1))


@handles("adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d",
         "adaptive_max_pool1d_with_indices", "adaptive_max_pool2d_with_indices",
         "adaptive_max_pool3d_with_indices")  # fmt: skip
def adaptive_max_pool(call: Call) -> Form:
    """The bias goes to the input that autograd takes as the largest."""
    return routing(call, gap=lambda: adaptive_gap(call, int(call.op[17])))


@handles("fractional_max_pool2d_with_indices", "fractional_max_pool3d_with_indices")
def fractional_max_pool(call: Call) -> Form:
    """Routing by the windows that were drawn in the recorded forward pass; the margin is NaN."""
    return routing(call, gap=lambda: unknown_gap(call))


@decomposes("fractional_max_pool2d", "fractional_max_pool3d")
def draw_windows(
    input: Tensor,  # noqa: A002 - torch's own name
    kernel_size: Any,
    output_size: Any = None,
    output_ratio: Any = None,
    return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> Any:
    """Draw the windows once, as the layer would, and leave the global generator as it was."""
    axes = input.ndim - 2
    if _random_samples is None:
        off_the_tape = torch._C.DisableTorchFunction()  # noqa: SLF001 - torch's documented way
        with torch.random.fork_rng(devices=[]), off_the_tape:
            _random_samples = torch.rand(*input.shape[:2], axes, dtype=input.dtype).to(input.device)
    pool = (F.fractional_max_pool2d_with_indices, F.fractional_max_pool3d_with_indices)[axes - 2]
    out, indices = pool(input, kernel_size, output_size, output_ratio, True, _random_samples)
    return (out, indices) if return_indices else out


def _matrix(pool: Callable[[Tensor], Tensor], size: int, like: Tensor) -> Tensor:
    """Coefficients ``(out, in)`` of a linear function of one axis, read off the identity."""
    eye = torch.eye(size, dtype=torch.float64, device=like.device)
    return pool(eye.unsqueeze(0)).squeeze(0).T.to(like.dtype)


@handles("avg_pool1d", "avg_pool2d", "avg_pool3d")
def average_pool(call: Call) -> Form:
    """Averages over windows, one small matrix for each axis."""
    axes = int(call.op[8])
    x = call.inputs[0]
    kernel = spread(call.arg(1, "kernel_size"), axes)
    stride = spread(call.arg(2, "stride") or kernel, axes)
    padding = spread(call.arg(3, "padding", 0), axes)
    ceil, inside = call.arg(4, "ceil_mode", False), call.arg(5, "count_include_pad", True)
    override = call.arg(6, "divisor_override")
    matrices = {}
    for axis in range(axes):
        size, k = x.shape[axis - axes], kernel[axis]
        pool = partial(
            F.avg_pool1d,
            kernel_size=k,
            stride=stride[axis],
            padding=padding[axis],
            ceil_mode=ceil,
            count_include_pad=inside,
        )
        matrix = _matrix(pool, size, x)
        if override is not None:
            matrix = (matrix != 0).to(x.dtype) / (override if axis == 0 else 1)
        matrices[x.ndim - axes + axis] = matrix
    return by_matrices(call, matrices)


@handles("adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d")
def adaptive_average_pool(call: Call) -> Form:
    """Averages over windows of nearly equal size."""
    axes = int(call.op[17])
    x = call.inputs[0]
    size = call.arg(1, "output_size")
    wanted = (size,) * axes if isinstance(size, int) else tuple(size)
    if set(wanted) == {1}:
        return in_one(call, range(x.ndim - axes, x.ndim), mean=True)
    matrices = {}
    for axis, out in enumerate(wanted):
        place = x.ndim - axes + axis
        length = x.shape[place] if out is None else out
        pool = partial(F.adaptive_avg_pool1d, output_size=length)
        matrices[place] = _matrix(pool, x.shape[place], x)
    return by_matrices(call, matrices)


@handles("interpolate", "upsample", "upsample_nearest", "upsample_bilinear")
def interpolate(call: Call) -> Form:
    """Resampling: nearest copies values, the others mix along each axis."""
    x = call.inputs[0]
    mode = call.arg(3, "mode", "nearest")
    if call.op == "upsample_bilinear":
        mode = "bilinear"
    if "nearest" in mode:
        return routing(call)
    if call.arg(6, "antialias", False):
        raise UnsupportedOperationError(call.name, call.op, "its antialiasing filter is not known")
    align = call.op == "upsample_bilinear" or bool(call.arg(4, "align_corners", False))
    scale = None if call.kwargs.get("recompute_scale_factor") else call.arg(2, "scale_factor")
    matrices = {}
    for axis in range(2, x.ndim):
        factor = scale[axis - 2] if isinstance(scale, (list, tuple)) else scale
        resample = _resampler(mode, x.shape[axis], call.output.shape[axis], align, factor)
        matrices[axis] = _matrix(resample, x.shape[axis], x)
    return by_matrices(call, matrices)


def _resampler(
    mode: str, size: int, out: int, align: bool, scale: float | None
) -> Callable[[Tensor], Tensor]:
    """The resampling of one axis, as a function of ``(1, rows, size)``."""
    if mode == "area":
        return lambda eye: F.adaptive_avg_pool1d(eye, out)
    if mode == "bicubic":
        wide = {"size": (size, out)} if scale is None else {"scale_factor": (1.0, scale)}
        return lambda eye: F.interpolate(
            eye.unsqueeze(0), mode=mode, align_corners=align, **wide
        ).squeeze(0)
    narrow = {"size": out} if scale is None else {"scale_factor": scale}
    return lambda eye: F.interpolate(eye, mode="linear", align_corners=align, **narrow)


@decomposes("lp_pool1d", "lp_pool2d", "lp_pool3d")
def lp_pool(
    input: Tensor,  # noqa: A002 - torch's own name
    norm_type: float,
    kernel_size: Any,
    stride: Any = None,
    ceil_mode: bool = False,
) -> Tensor:
    """``(sum over the window of x^p)^(1/p)``, to first order."""
    axes = input.ndim - 2
    pool = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[axes - 1]
    kernel = spread(kernel_size, axes)
    mean = pool(input.pow(norm_type), kernel, stride, 0, ceil_mode)
    count = int(torch.tensor(kernel).prod())
    positive = torch.sign(mean) * torch.relu(torch.abs(mean))
    return (positive * count).pow(1.0 / norm_type)
