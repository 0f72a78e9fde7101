"""A recorded layer with weights, and the same layer with others."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from biasmatters.affine.call import Call

CONVOLUTIONS = ("conv1d", "conv2d", "conv3d")
TRANSPOSED = ("conv_transpose1d", "conv_transpose2d", "conv_transpose3d")


def weight_of(call: Call) -> Tensor:
    """The weight of a linear layer or a convolution."""
    weight: Tensor = call.arg(1, "weight")
    return weight.detach()


def reweighted(call: Call, weight: Tensor) -> Call:
    """The layer with another weight and without its bias."""
    args = tuple(
        weight if place == 1 else None if place == 2 else value
        for place, value in enumerate(call.args)
    )
    kwargs = {key: value for key, value in call.kwargs.items() if key != "bias"}
    if len(args) < 2:
        kwargs["weight"] = weight
    return replace(call, args=args, kwargs=kwargs)
