"""Depthwise convolutions, and the order of memory that suits them."""

from __future__ import annotations

from typing import TypeGuard

from torch import Tensor

from biasmatters.affine.maps.conv import ConvMap
from biasmatters.affine.mixing import Mixing


def is_depthwise(mixing: Mixing) -> TypeGuard[ConvMap]:
    """Whether a map is a depthwise convolution."""
    return isinstance(mixing, ConvMap) and mixing.depthwise


def channels_last(values: Tensor) -> Tensor:
    """The same tensor with channels innermost in memory, where they are many side by side.

    A processor convolves each channel by itself several times faster in this order.
    """
    return values.movedim(1, -1).contiguous().movedim(-1, 1)
