"""Convolutions and transposed convolutions."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from biasmatters.affine.call import Call
from biasmatters.affine.form import Form, mixing
from biasmatters.affine.maps.conv import ConvMap, TransposedConvMap
from biasmatters.affine.ops.dense import require_constant
from biasmatters.affine.registry import handles


def spread(value: int | Sequence[int], axes: int) -> tuple[int, ...]:
    """One number for each axis."""
    return (value,) * axes if isinstance(value, int) else tuple(value) * (axes // len(value))


def channel_bias(bias: Tensor | None, axes: int) -> Tensor | None:
    """A bias of shape ``(C,)`` as ``(C, 1, ...)``, which broadcasts to the output."""
    return None if bias is None else bias.detach().reshape(-1, *(1,) * axes)


def _pads(padding: str | int | Sequence[int], weight: Tensor, dilation: Sequence[int]) -> list[int]:
    axes = len(dilation)
    if not isinstance(padding, str):
        return [n for pad in spread(padding, axes) for n in (pad, pad)]
    if padding == "valid":
        return [0] * (2 * axes)
    totals = [d * (k - 1) for d, k in zip(dilation, weight.shape[2:], strict=True)]
    return [n for total in totals for n in (total // 2, total - total // 2)]


@handles("conv1d", "conv2d", "conv3d")
def convolution(call: Call) -> Form:
    """``W * x + b``."""
    axes = int(call.op[4])
    weight, bias = call.arg(1, "weight"), call.arg(2, "bias")
    require_constant(call, weight, "weight")
    require_constant(call, bias, "bias")
    dilation = spread(call.arg(5, "dilation", 1), axes)
    pads = _pads(call.arg(4, "padding", 0), weight, dilation)
    made = ConvMap(
        weight.detach(),
        spread(call.arg(3, "stride", 1), axes),
        tuple(zip(pads[::2], pads[1::2], strict=True)),
        dilation,
        call.arg(6, "groups", 1),
    )
    return mixing(call, lambda: made, lambda: channel_bias(bias, axes))


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
    return mixing(call, lambda: made, lambda: channel_bias(bias, axes))
