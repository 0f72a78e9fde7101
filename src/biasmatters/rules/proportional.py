"""``proportional``: the bias follows the size of the contributions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from biasmatters.affine.masks import kept
from biasmatters.affine.mixing import Mixing


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
        limits = torch.finfo(x.dtype)
        size = x.abs()
        total = sizes.forward(size)
        # Contributions so small that their quotients leave the number format count as none.
        least = tau.abs().mul_(1 / (limits.max * limits.eps)).clamp_min_(limits.tiny)
        live = total > least
        if scale is not None:
            live = live & (scale != 0)
        share = kept(tau / torch.maximum(total, least), live)
        return sizes.transpose(share).mul_(size), live
