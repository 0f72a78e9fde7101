"""Sums over whole axes, times a number: sums, means, and pools that leave one place."""

from __future__ import annotations

import torch
from torch import Tensor

from biasmatters import kernels
from biasmatters.affine.maps.separable import SeparableMap
from biasmatters.affine.mixing import Connections, Linear, Mixing
from biasmatters.affine.sealed import sealed


@sealed
class TotalMap:
    """``out = factor * sum over axes of x``, the axes kept with length 1.

    Attributes:
        axes: At least one, none of them negative.
        factor: The coefficient of every connection.
    """

    axes: tuple[int, ...]
    factor: float

    def power(self, exponent: int, like: Tensor) -> Linear:
        """The map with coefficients ``|m|^exponent``."""
        size = float(self.factor != 0) if exponent == 0 else abs(self.factor) ** exponent

        def forward(x: Tensor) -> Tensor:
            total = x.sum(self.axes, keepdim=True)
            return total if size == 1 else total * size

        def transpose(tau: Tensor) -> Tensor:
            return (tau if size == 1 else tau * size).expand(like.shape)

        return Linear(forward, transpose)

    def back(self, grad: Tensor, like: Tensor) -> Tensor:
        """The transpose of the map as it is, for an input ``like``."""
        return (grad * self.factor).expand(like.shape)

    def connections(self, x: Tensor) -> Connections:
        """All connections, for the direct form."""
        one = torch.ones((), dtype=x.dtype, device=x.device)
        values = [one * self.factor, *(one for _ in self.axes[1:])]
        matrices = {a: v.expand(1, x.shape[a]) for a, v in zip(self.axes, values, strict=True)}
        return SeparableMap(matrices).connections(x)


def share_totals(
    mixing: Mixing, x: Tensor, tau: Tensor, least: tuple[float, float], *, even: bool
) -> tuple[Tensor, Tensor | None] | None:
    """Split tau by the size of the inputs or evenly, None where another way has to be taken.

    Args:
        mixing: The linear map.
        x: Its input.
        tau: Like its output.
        least: What counts as no total: up to the first times ``|tau|``, and up to the second.
        even: Whether inputs that are not 0 count alike.

    Returns:
        The inputs' bias, and the tau of units without any input, None for none.
    """
    if not isinstance(mixing, TotalMap) or not kernels.fit(x, tau):
        return None
    if mixing.axes != tuple(range(x.ndim - len(mixing.axes), x.ndim)):
        return None
    factor = float(mixing.factor != 0) if even else abs(mixing.factor)
    return kernels.totals.split(x, tau, factor, least, even=even)
