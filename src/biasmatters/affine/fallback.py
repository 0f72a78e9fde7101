"""Where the bias of units without any contributing input goes."""

from __future__ import annotations

import torch
from torch import Tensor

from biasmatters.affine.maps.conv import ConvMap
from biasmatters.affine.maps.even import COUNTED, LEAST, share_evenly
from biasmatters.affine.maps.planes import share_by_planes
from biasmatters.affine.masks import count, unless_empty
from biasmatters.affine.mixing import Linear, Mixing, Stackable, Tileable, raise_to
from biasmatters.affine.speculation import current

# Connections listed at a time for each thread, and the share of units up to which they are listed.
LISTED = 1 << 17
FEW = 0.1


def hand_to_support(
    mixing: Mixing, x: Tensor, tau: Tensor, exponent: int
) -> tuple[Tensor, Tensor | None]:
    """Split tau over a unit's real inputs in proportion to ``|m|^exponent``, whatever they carry.

    Args:
        mixing: The linear map.
        x: Its input.
        tau: Like its output.
        exponent: 0 for even shares, 1 for shares by weight.

    Returns:
        The inputs' bias, and the tau of units that have no input at all, None if there are none.
    """
    if exponent == 0:
        together = share_evenly(mixing, x, tau, to_all=True)
        together = together or share_by_planes(mixing, x, tau, 0, "everything", COUNTED)
        if together is not None:
            return together
    counted = exponent == 0 and isinstance(mixing, ConvMap)
    assumed = current()
    listed = assumed is None and not counted
    if listed and isinstance(mixing, Tileable) and count(tau) < FEW * tau.numel():
        return _listed(mixing, x, tau, exponent)
    support = mixing.power(exponent, x)
    total = _sizes(mixing, exponent, x, support)
    share = tau / total
    least = LEAST if exponent == 0 else 0.0
    if assumed is not None and tau.numel():
        assumed.note(lambda low: low > least, total.amin())
        assumed.finite(share)
        return support.transpose(share), None
    if bool(total.amin() > least) and bool(share.sum().isfinite()):
        return support.transpose(share), None
    reached = (total > least) & share.isfinite()
    beta = support.transpose(share.where(reached, 0))
    return beta, unless_empty(tau.masked_fill(reached, 0))


def _sizes(mixing: Mixing, exponent: int, x: Tensor, support: Linear) -> Tensor:
    """``sum_q |m|^exponent`` of each unit; where samples share coefficients, of one sample."""
    if isinstance(mixing, ConvMap) and not any(map(any, mixing.padding)):
        sizes = raise_to(mixing.weight.to(x.dtype), exponent).flatten(1).sum(1)
        return sizes.reshape(-1, *(1,) * (x.ndim - 2))
    if isinstance(mixing, Stackable) and x.ndim > 1 and len(x):
        return mixing.power(exponent, x[:1]).forward(torch.ones_like(x[:1]))
    return support.forward(torch.ones_like(x))


def _listed(
    mixing: Tileable, x: Tensor, tau: Tensor, exponent: int
) -> tuple[Tensor, Tensor | None]:
    """Unit by unit, for few of them."""
    real = mixing.lay_out(torch.ones_like(x))
    flat, carried = real.flatten(), tau.flatten()
    units = carried.nonzero().squeeze(1)
    at = mixing.addresses(real.shape, tau.shape, units)
    beta, lost = torch.zeros_like(flat), torch.zeros_like(carried)
    for some, places, coefficients in at.pieces(LISTED):
        sizes = raise_to(coefficients.to(x.dtype), exponent) * flat.take(places)
        total, here = sizes.sum(1), carried[units[some]]
        share = here / total
        reached = (total > 0) & share.isfinite()
        share = share.where(reached, 0)
        beta.scatter_add_(0, places.flatten(), (sizes * share[:, None]).flatten())
        lost[units[some]] = here.masked_fill(reached, 0)
    lost = lost.reshape(tau.shape)
    return mixing.take_up(beta.reshape(real.shape), x.shape), unless_empty(lost)
