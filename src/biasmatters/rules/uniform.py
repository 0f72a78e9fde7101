"""``uniform``: the bias is shared equally by all that contribute."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from biasmatters.affine.masks import kept, present
from biasmatters.affine.mixing import Mixing
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
        count = support.forward(some)
        live = live_by(count, scale)
        return some * support.transpose(kept(tau / count.clamp_min(1), live)), live
