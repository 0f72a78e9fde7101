"""``proportional``: the bias follows the size of the contributions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from biasmatters.affine.masks import present
from biasmatters.affine.mixing import Mixing
from biasmatters.affine.pieces import pieces


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
        live = torch.empty_like(share)
        for parts in pieces(tau, share, live, *(() if scale is None else (scale,))):
            _divide(*parts)
        return sizes.transpose(share).mul_(size), live


def _divide(tau: Tensor, total: Tensor, live: Tensor, slope: Tensor | None = None) -> None:
    """Write tau for each 1 of the total over the total, and which units are live over ``live``."""
    limits = torch.finfo(tau.dtype)
    # Contributions so small that their quotients leave the number format count as none.
    least = tau.abs().mul_(1 / (limits.max * limits.eps)).clamp_min_(limits.tiny)
    torch.sub(total, least, out=live).sign_().clamp_min_(0)
    if slope is not None:
        live.mul_(present(slope))
    torch.div(tau, torch.maximum(total, least, out=least), out=total).mul_(live)
