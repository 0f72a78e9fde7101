"""Convolutions whose outputs and inputs lie at the same places, tile by tile."""

from __future__ import annotations

from typing import TypeGuard

from torch import Tensor

from biasmatters import kernels
from biasmatters.affine.bent import Bent
from biasmatters.affine.maps.conv import ConvMap
from biasmatters.affine.mixing import Mixing, raise_to


def share_bent_at_points(
    mixing: Mixing, x: Tensor, bent: Bent, least: tuple[float, float]
) -> tuple[Tensor, Tensor, Tensor | None] | None:
    """Split bias above a bend by the sizes of contributions.

    None where another way has to be taken.

    Args:
        mixing: The linear map.
        x: Its input.
        bent: The bias.
        least: What counts as no total: up to the first times ``|tau|``, and up to the second.

    Returns:
        The inputs' bias; the size of what met no contribution and went evenly to all, ``(N,)``; and
        the sum of what has no input in reach at all, likewise, None for nothing.
    """
    if not _fits(mixing, x, bent.y):
        return None
    sizes = raise_to(mixing.weight.detach().flatten(1), 1)
    return kernels.tiles.split_bent(
        x, bent.parts(), sizes, mixing.cuts, least, positive=bent.floor >= 0
    )


def back_by_bent_points(
    mixing: Mixing, x: Tensor, bent: tuple[Tensor, Tensor, Tensor | None, Tensor]
) -> tuple[Tensor, Tensor] | None:
    """The gradient at the input, as `biasmatters.kernels.tiles.pass_back` has it; None likewise."""
    if not _fits(mixing, x, bent[1]):
        return None
    return kernels.tiles.pass_back(bent, mixing.weight.detach().flatten(1), x)


def _fits(mixing: Mixing, x: Tensor, y: Tensor) -> TypeGuard[ConvMap]:
    if not isinstance(mixing, ConvMap) or mixing.groups > 1 or not mixing.a_point:
        return False
    return kernels.fit(x, y, mixing.weight) and kernels.tiles.fit(mixing.weight)
