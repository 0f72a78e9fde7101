"""Linear shares of bias above a bend: two linear maps, and the fallback for what they leave."""

from __future__ import annotations

from typing import TypeGuard

from torch import Tensor

from biasmatters import kernels
from biasmatters.affine.axis import row_sums
from biasmatters.affine.bent import Bent
from biasmatters.affine.fallback import hand_to_support
from biasmatters.affine.maps.conv import ConvMap
from biasmatters.affine.mixing import Linear, Mixing

Found = tuple[Tensor, Tensor, Tensor | None]


def fits_bent(mixing: Mixing, x: Tensor, bent: Bent) -> TypeGuard[ConvMap]:
    """Whether `share_bent` can take a map."""
    return isinstance(mixing, ConvMap) and kernels.fit(x, bent.y)


def share_bent(
    conv: ConvMap, x: Tensor, bent: Bent, sizes: Linear, size: Tensor, least: tuple[float, float]
) -> Found:
    """Split the bias below a bend in proportion to ``k[p, q] s[q]``.

    Args:
        conv: The linear map.
        x: Its input.
        bent: The bias.
        sizes: The map with the coefficients k.
        size: s, like x.
        least: As in `biasmatters.kernels.shares.divide`.

    Returns:
        As `SplitsBent` has it: what no input was found for goes evenly to all in reach.
    """
    from biasmatters.kernels import bends

    total = sizes.forward(size).expand_as(bent.y).contiguous()
    if total.data_ptr() == size.data_ptr():
        total = total.clone()
    if conv.a_point and size.is_contiguous():
        return _at_points(conv, bent, sizes, size, total, least)
    share, mass, left = bends.share(bent.parts(), total, least)
    back = sizes.transpose(share)
    beta = back.mul_(size) if back.is_contiguous() else back * size
    if left is None:
        return beta, mass, None
    extra, lost = hand_to_support(conv, x, left, 0)
    return beta + extra, mass, None if lost is None else row_sums(lost)


def _at_points(
    conv: ConvMap,
    bent: Bent,
    sizes: Linear,
    size: Tensor,
    total: Tensor,
    least: tuple[float, float],
) -> Found:
    """The same where outputs and inputs lie at the same places."""
    from biasmatters.kernels import points

    parts = bent.parts()
    rest, mass = points.share_bent(parts, total, least)
    beta = sizes.transpose(total).contiguous()
    if not mass.numpy().any():
        return beta.mul_(size), mass, None
    return beta, mass, points.finish(parts, total, rest, conv.cuts, size, beta)
