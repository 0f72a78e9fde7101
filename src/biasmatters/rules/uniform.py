"""``uniform``: the bias is shared equally by all that contribute."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from biasmatters.affine.masks import present
from biasmatters.affine.mixing import Mixing
from biasmatters.affine.pieces import pieces
from biasmatters.rules.softmax import live_by


@dataclass(frozen=True)
class Uniform:
    """Every contributing input takes the same share.

        alpha[p, q] proportional to 1[e != 0]

    Source: Wang, Zhou, Bilmes, ICML 2019 (recalled, low confidence).
    """

    @property
    def name(self) -> str:
        """The rule's name."""
        return "uniform"

    def alpha(self, e: Tensor, present: Tensor, tau: Tensor, dim: int) -> Tensor:
        """The formula above."""
        count = present.sum(dim, keepdim=True).clamp_min(1)
        return present.to(e.dtype) / count

    def split(
        self, mixing: Mixing, x: Tensor, tau: Tensor, scale: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Two linear maps with every coefficient replaced by ``1[m != 0]``."""
        support = mixing.power(0, x)
        some = present(x)
        count = _once(support.forward(some))
        reached = live_by(count, None)
        share, live = tau * reached.div(count.clamp_min(1)), reached.expand_as(tau)
        if scale is not None:
            live = torch.empty_like(share).copy_(reached)
            for handed, mask, slope in pieces(share, live, scale):
                passed = present(slope)
                handed.mul_(passed)
                mask.mul_(passed)
        return some.mul_(support.transpose(share)), live


def _once(count: Tensor) -> Tensor:
    """A number for many units where one number is shown to all of them."""
    return count[tuple(slice(0, 1) if step == 0 else slice(None) for step in count.stride())]
