"""``proportional``: the bias follows the size of the contributions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from biasmatters.affine.masks import largest
from biasmatters.affine.mixing import Mixing
from biasmatters.affine.pieces import pieces
from biasmatters.rules.softmax import passing


@dataclass(frozen=True)
class Proportional:
    """A control without parameters.

        alpha[p, q] proportional to |e[p, q]|

    Source: ours.
    """

    @property
    def name(self) -> str:
        """The rule's name."""
        return "proportional"

    def alpha(self, e: Tensor, present: Tensor, tau: Tensor, dim: int) -> Tensor:
        """The formula above."""
        size = e.abs()
        total = size.sum(dim, keepdim=True)
        return size / total.where(total > 0, 1)

    def split(
        self, mixing: Mixing, x: Tensor, tau: Tensor, scale: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Two linear maps with coefficients ``|m|``; the folded slope cancels."""
        sizes = mixing.power(1, x)
        size = x.abs()
        share = sizes.forward(size)
        share = share.clone() if share is size else share
        slopes = passing(scale)
        if share.numel() and float(share.amin()) > _least(largest(tau), tau.dtype):
            torch.div(tau, share, out=share)
            live = share.new_ones(()) if slopes is None else slopes
            share = share if slopes is None else share.mul_(slopes)
            return size.mul_(sizes.transpose(share)), live.expand_as(tau)
        live = torch.empty_like(share)
        masks = () if slopes is None else (slopes.expand_as(tau),)
        for parts in pieces(tau, share, live, *masks):
            _divide(*parts)
        return size.mul_(sizes.transpose(share)), live


def _least(tau: float, dtype: torch.dtype) -> float:
    """Contributions so small that their quotients leave the number format count as none."""
    limits = torch.finfo(dtype)
    return max(tau / limits.max / limits.eps, limits.tiny)


def _divide(tau: Tensor, total: Tensor, live: Tensor, mask: Tensor | None = None) -> None:
    """Write tau for each 1 of the total over the total, and which units are live over ``live``."""
    limits = torch.finfo(tau.dtype)
    least = tau.abs().mul_(1 / (limits.max * limits.eps)).clamp_min_(limits.tiny)
    torch.gt(total, least, out=live)
    if mask is not None:
        live.mul_(mask)
    torch.div(tau, torch.maximum(total, least, out=least), out=total).mul_(live)
