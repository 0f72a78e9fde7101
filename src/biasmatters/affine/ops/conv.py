"""Convolutions and transposed convolutions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from biasmatters.affine.call import Call
from biasmatters.affine.form import Form, Split, mixing
from biasmatters.affine.law import PerChannel
from biasmatters.affine.maps.conv import ConvMap
from biasmatters.affine.maps.planes import back_by_planes
from biasmatters.affine.maps.transposed_conv import TransposedConvMap
from biasmatters.affine.ops.dense import require_constant
from biasmatters.affine.registry import decomposes, handles


def spread(value: int | Sequence[int], axes: int) -> tuple[int, ...]:
    """One number for each axis."""
    return (value,) * axes if isinstance(value, int) else tuple(value) * (axes // len(value))


def channel_bias(bias: Tensor | None, axes: int) -> Tensor | None:
    """A bias of shape ``(C,)`` as ``(C, 1, ...)``, which broadcasts to the output."""
    return None if bias is None else bias.detach().reshape(-1, *(1,) * axes)


Sides = tuple[tuple[int, int], ...]
Spread = int | tuple[int, ...]


def sides(
    padding: str | int | Sequence[int] | Sides, kernel: Sequence[int], dilation: Sequence[int]
) -> Sides:
    """How many zeros are before and after, for each axis.

    Args:
        padding: As torch's convolutions take it, or that itself, as `convolve` takes it.
        kernel: Its sides.
        dilation: One number for each axis.
    """
    axes = len(dilation)
    if padding == "same":
        totals = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
        return tuple((total // 2, total - total // 2) for total in totals)
    if isinstance(padding, str):
        return ((0, 0),) * axes
    if isinstance(padding, tuple) and isinstance(padding[0], tuple):
        return padding
    return tuple((n, n) for n in spread(padding, axes))  # type: ignore[arg-type]


def convolve(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    padding: Sides,
    dilation: Sequence[int],
    groups: int,
) -> Tensor:
    """A convolution with as many zeros before as it says, and as many after."""
    run = (F.conv1d, F.conv2d, F.conv3d)[len(padding) - 1]
    around = [n for pair in reversed(padding) for n in pair]
    return run(F.pad(x, around), weight, bias, tuple(stride), 0, tuple(dilation), groups)


def geometry(call: Call, axes: int) -> tuple[tuple[int, ...], Sides, tuple[int, ...]]:
    """Stride, padding and dilation of a convolution, with a number, or two, for each axis."""
    how = call.arg(3, "stride", 1), call.arg(4, "padding", 0), call.arg(5, "dilation", 1)
    return _for_each_axis(axes, call.arg(1, "weight").shape[2:], *map(_fixed, how))


@lru_cache(maxsize=1024)
def _for_each_axis(
    axes: int, kernel: torch.Size, stride: Spread, padding: str | Spread | Sides, dilation: Spread
) -> tuple[tuple[int, ...], Sides, tuple[int, ...]]:
    """The same; most layers' are alike."""
    steps = spread(dilation, axes)
    return spread(stride, axes), sides(padding, kernel, steps), steps


def _fixed(value: Any) -> Any:
    """What can be looked up: a list is a tuple."""
    return tuple(value) if isinstance(value, list) else value


@handles("conv1d", "conv2d", "conv3d")
def convolution(call: Call) -> Form:
    """``W * x + b``."""
    axes = int(call.op[4])
    weight, bias = call.arg(1, "weight"), call.arg(2, "bias")
    require_constant(call, weight, "weight")
    require_constant(call, bias, "bias")
    made = ConvMap(weight.detach(), *geometry(call, axes), call.arg(6, "groups", 1))
    # Under autocast what is computed has another format than what it is computed of.
    x = call.inputs[0]
    if x.ndim != axes + 2 or not x.dtype == weight.dtype == call.output.dtype:
        return _batched(call, made, bias, axes)
    return _batched(call, made, bias, axes, lambda grad: _transposed(made, x.detach(), grad))


def _transposed(made: ConvMap, x: Tensor, grad: Tensor) -> tuple[Tensor]:
    """The gradient at the input of a convolution."""
    found = back_by_planes(made, x, grad)
    return (made.as_is(x).transpose(grad) if found is None else found,)


def _batched(
    call: Call,
    made: ConvMap | TransposedConvMap,
    bias: Tensor | None,
    axes: int,
    transpose: Callable[[Tensor], tuple[Tensor, ...]] | None = None,
) -> Form:
    """The map as it is, or for a single picture ``(C, *space)`` as a batch of one."""
    law = PerChannel(shift=None if bias is None else bias.detach())
    form = mixing(
        call, lambda: made, lambda: channel_bias(bias, axes), law=law, transpose=transpose
    )
    if call.inputs[0].ndim == axes + 2:
        return form

    def pull(tau: Tensor, split: Split) -> tuple[Tensor, ...]:
        x = call.inputs[0].detach().unsqueeze(0)
        return (split.mix(made, x, tau.unsqueeze(0), 0).squeeze(0),)

    return replace(form, pull=pull, law=None, maker=None)


@handles("conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
def transposed_convolution(call: Call) -> Form:
    """The transpose of a convolution, plus b."""
    axes = int(call.op[14])
    weight, bias = call.arg(1, "weight"), call.arg(2, "bias")
    require_constant(call, weight, "weight")
    require_constant(call, bias, "bias")
    made = TransposedConvMap(
        weight.detach(),
        spread(call.arg(3, "stride", 1), axes),
        spread(call.arg(4, "padding", 0), axes),
        spread(call.arg(5, "output_padding", 0), axes),
        spread(call.arg(7, "dilation", 1), axes),
        call.arg(6, "groups", 1),
    )
    return _batched(call, made, bias, axes)


@decomposes("fold")
def fold(
    input: Tensor,  # noqa: A002 - torch's own name
    output_size: Any,
    kernel_size: Any,
    dilation: Any = 1,
    padding: Any = 0,
    stride: Any = 1,
) -> Tensor:
    """Overlapping patches added up: a transposed convolution whose kernels hold a single one."""
    size, kernel, steps = spread(output_size, 2), spread(kernel_size, 2), spread(stride, 2)
    gaps, pads = spread(dilation, 2), spread(padding, 2)
    reach = [
        n + 2 * p - d * (k - 1) - 1 for n, p, d, k in zip(size, pads, gaps, kernel, strict=True)
    ]
    places = [r // s + 1 for r, s in zip(reach, steps, strict=True)]
    each = kernel[0] * kernel[1]
    channels = input.shape[-2] // each
    ones = torch.eye(each, dtype=input.dtype, device=input.device).reshape(each, 1, *kernel)
    return F.conv_transpose2d(
        input.reshape(*input.shape[:-1], *places),
        ones.repeat(channels, 1, 1, 1),
        None,
        steps,
        pads,
        tuple(r % s for r, s in zip(reach, steps, strict=True)),
        channels,
        gaps,
    )
