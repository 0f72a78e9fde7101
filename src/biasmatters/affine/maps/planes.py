"""Depthwise convolutions plane by plane: shares in proportion to coefficients, and gradients."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from torch import Tensor

from biasmatters import kernels
from biasmatters.affine.bent import Bent
from biasmatters.affine.maps.conv import ConvMap
from biasmatters.affine.maps.depthwise import is_depthwise
from biasmatters.affine.mixing import Mixing, raise_to

if TYPE_CHECKING:
    from biasmatters.kernels.windows import Sizes

# Places for each output up to which those between the strides are worked out as well.
WASTE = 16


def share_by_planes(
    mixing: Mixing,
    x: Tensor,
    tau: Tensor,
    exponent: int,
    sizes: Sizes,
    least: tuple[float, float],
) -> tuple[Tensor, Tensor | None] | None:
    """Split tau in proportion to ``|m|^exponent s``, None where another way has to be taken.

    Args:
        mixing: The linear map.
        x: Its input.
        tau: Like its output.
        exponent: 0 or 1.
        sizes: What s is: the ``size`` of x, its ``presence``, or 1 for ``everything``.
        least: What counts as no total: up to the first times ``|tau|``, and up to the second.

    Returns:
        The inputs' bias, and the tau of units without any input, None for none.
    """
    if not is_depthwise(mixing) or not fits_planes(mixing, x, tau):
        return None
    taps = raise_to(mixing.weight.detach(), exponent)
    return kernels.windows.split(
        x, tau, taps, mixing.padding, mixing.dilation, mixing.stride, sizes, least
    )


def share_bent_by_planes(
    mixing: Mixing, x: Tensor, bent: Bent, exponent: int, sizes: Sizes, least: tuple[float, float]
) -> tuple[Tensor, Tensor, Tensor | None] | None:
    """The same for bias above a bend; what units without any input have goes evenly to all.

    Args:
        mixing: As in `share_by_planes`.
        x: Likewise.
        bent: The bias.
        exponent: As in `share_by_planes`.
        sizes: Likewise.
        least: Likewise.

    Returns:
        The inputs' bias; the size of what went evenly to all, ``(N,)``; and the sum of what has
        no input in reach at all, likewise, None for nothing.
    """
    if not is_depthwise(mixing) or not fits_planes(mixing, x, bent.y):
        return None
    taps = raise_to(mixing.weight.detach(), exponent)
    return kernels.windows.split_bent(
        x, bent.parts(), taps, mixing.padding, mixing.dilation, mixing.stride, sizes, least
    )


def back_by_planes(mixing: Mixing, x: Tensor, grad: Tensor) -> Tensor | None:
    """The gradient at the input for one at the output, None where another way has to be taken."""
    if not is_depthwise(mixing) or not fits_planes(mixing, x, grad):
        return None
    return kernels.windows.spread(
        grad, mixing.weight, x, mixing.padding, mixing.dilation, mixing.stride
    )


def back_by_bent_planes(
    mixing: Mixing, x: Tensor, bent: tuple[Tensor, Tensor, Tensor | None, Tensor]
) -> tuple[Tensor, Tensor] | None:
    """The same for a gradient above a bend, as `biasmatters.kernels.windows.spread_bent` has it."""
    if not is_depthwise(mixing) or not fits_planes(mixing, x, bent[1]):
        return None
    return kernels.windows.spread_bent(
        bent, mixing.weight, x, mixing.padding, mixing.dilation, mixing.stride
    )


def fits_planes(conv: ConvMap, x: Tensor, tau: Tensor) -> bool:
    """Whether kernels can take the planes of a convolution, and its windows overlap enough."""
    if x.ndim != 4 or prod(conv.stride) > WASTE or not kernels.fit(x, tau, conv.weight):
        return False
    return kernels.window_plan.fits(x.shape[2:], tau.shape[2:], conv.stride, conv.padding)
