"""``uniform``: the bias is shared equally by all that contribute."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from biasmatters import kernels
from biasmatters.affine.bent import Bent
from biasmatters.affine.maps.dense import DenseMap
from biasmatters.affine.maps.even import COUNTED, LEAST, share_bent_evenly, share_evenly
from biasmatters.affine.maps.planes import share_bent_by_planes, share_by_planes
from biasmatters.affine.maps.totals import share_totals
from biasmatters.affine.masks import all_present, assume_live, once, passing, present
from biasmatters.affine.mixing import Lost, Mixing
from biasmatters.affine.speculation import Assumptions, current
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
    ) -> tuple[Tensor, Tensor | Lost]:
        """Two linear maps with every coefficient replaced by ``1[m != 0]``."""
        assumed = current()
        if assumed is not None and assumed.none_stranded:
            return _assuming(assumed, mixing, x, tau, scale), Lost(None)
        slopes = passing(scale)
        if slopes is None:
            together = (
                share_evenly(mixing, x, tau, to_all=False)
                or share_by_planes(mixing, x, tau, 0, "presence", COUNTED)
                or share_totals(mixing, x, tau, COUNTED, even=True)
                or _by_rows(mixing, x, tau)
            )
            if together is not None:
                return together[0], Lost(together[1])
        support = mixing.power(0, x)
        some = present(x)
        count = once(support.forward(some))
        reached = live_by(count, None)
        each = reached.div(count.clamp_min(1))
        if slopes is None:
            return some.mul_(support.transpose(tau * each)), reached.expand_as(tau)
        share = tau * slopes
        live = slopes if assumed is None and all_present(reached) else slopes * reached
        return some.mul_(support.transpose(share.mul_(each))), live.expand_as(tau)

    def split_bent(
        self, mixing: Mixing, x: Tensor, bent: Bent
    ) -> tuple[Tensor, Tensor | None, Tensor | None] | None:
        """As `SplitsBent` has it."""
        found = share_bent_evenly(mixing, x, bent)
        return found or share_bent_by_planes(mixing, x, bent, 0, "presence", COUNTED)

    def split_branches(
        self, values: tuple[Tensor, Tensor], factors: tuple[float, float], tau: Tensor
    ) -> tuple[tuple[Tensor, Tensor], Tensor | None]:
        """As `SplitsBranches` has it."""
        return kernels.branches.meet(tau, values, factors, "even", COUNTED)


def _assuming(
    assumed: Assumptions, mixing: Mixing, x: Tensor, tau: Tensor, scale: Tensor | None
) -> Tensor:
    """The inputs' bias where no unit without contributions has any, as is taken to hold."""
    support, some = mixing.power(0, x), present(x)
    count = once(support.forward(some))
    assume_live(assumed, tau, count, LEAST, scale)
    return some.mul_(support.transpose(tau / count.clamp_min(1)))


def _by_rows(mixing: Mixing, x: Tensor, tau: Tensor) -> tuple[Tensor, Tensor | None] | None:
    """Through a dense layer of which each row is read once."""
    if not isinstance(mixing, DenseMap) or not kernels.fit(x, tau) or not mixing.by_kernel(x):
        return None
    return kernels.dense.split(mixing.weight, x, tau, COUNTED, even=True)
