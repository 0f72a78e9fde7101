"""``uniform``: the bias is shared equally by all that contribute."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from biasmatters.affine.masks import all_present, once, present
from biasmatters.affine.mixing import Mixing
from biasmatters.rules.softmax import live_by, passing


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
        count = once(support.forward(some))
        reached = live_by(count, None)
        each = reached.div(count.clamp_min(1))
        slopes = passing(scale)
        if slopes is None:
            return some.mul_(support.transpose(tau * each)), reached.expand_as(tau)
        share = tau * slopes
        live = slopes if all_present(reached) else slopes * reached
        return some.mul_(support.transpose(share.mul_(each))), live.expand_as(tau)
