"""``proportional``: the bias follows the size of the contributions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from biasmatters import kernels
from biasmatters.affine.axis import row_sums
from biasmatters.affine.bent import Bent
from biasmatters.affine.fallback import hand_to_support
from biasmatters.affine.maps.conv import ConvMap
from biasmatters.affine.maps.dense import DenseMap
from biasmatters.affine.maps.planes import share_bent_by_planes, share_by_planes
from biasmatters.affine.maps.points import share_bent_at_points
from biasmatters.affine.maps.totals import share_totals
from biasmatters.affine.masks import assume_live, largest, passing
from biasmatters.affine.mixing import Lost, Mixing
from biasmatters.affine.pieces import pieces
from biasmatters.affine.speculation import Assumptions, current


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
    ) -> tuple[Tensor, Tensor | Lost]:
        """Two linear maps with coefficients ``|m|``; the folded slope cancels."""
        assumed = current()
        if assumed is not None and assumed.none_stranded and tau.numel():
            return _assuming(assumed, mixing, x, tau, scale), Lost(None)
        slopes = passing(scale)
        if slopes is None:
            together = share_by_planes(mixing, x, tau, 1, "size", _bounds(tau))
            together = together or share_totals(mixing, x, tau, _bounds(tau), even=False)
            together = together or _by_rows(mixing, x, tau)
            if together is not None:
                return together[0], Lost(together[1])
        sizes = mixing.power(1, x)
        size = x.abs()
        total = sizes.forward(size)
        if slopes is None and total.shape == tau.shape and kernels.fit(tau, total):
            # Only of convolutions is it known that what they return is nobody else's.
            own = total if isinstance(mixing, ConvMap) else total.clone()
            share, lost = _by_kernel(tau, own)
            return size.mul_(sizes.transpose(share)), Lost(lost)
        if assumed is None and _ample(tau, total):
            share = tau / total if slopes is None else (tau / total).mul_(slopes)
            live = share.new_ones(()) if slopes is None else slopes
            return size.mul_(sizes.transpose(share)), live.expand_as(tau)
        share, live = torch.empty_like(tau), torch.empty_like(tau)
        masks = () if slopes is None else (slopes.expand_as(tau),)
        for parts in pieces(tau, total, share, live, *masks):
            _divide(*parts)
        return size.mul_(sizes.transpose(share)), live

    def split_bent(
        self, mixing: Mixing, x: Tensor, bent: Bent
    ) -> tuple[Tensor, Tensor | None, Tensor | None] | None:
        """As `SplitsBent` has it."""
        least = _bounds(bent.y)
        found = share_bent_by_planes(mixing, x, bent, 1, "size", least)
        found = found or share_bent_at_points(mixing, x, bent, least)
        return found or _below_bend(mixing, x, bent)

    def split_branches(
        self, values: tuple[Tensor, Tensor], factors: tuple[float, float], tau: Tensor
    ) -> tuple[tuple[Tensor, Tensor], Tensor | None]:
        """As `SplitsBranches` has it."""
        return kernels.branches.meet(tau, values, factors, "by size", _bounds(tau))


def _assuming(
    assumed: Assumptions, mixing: Mixing, x: Tensor, tau: Tensor, scale: Tensor | None
) -> Tensor:
    """The inputs' bias where no unit without contributions has any, as is taken to hold."""
    sizes, size = mixing.power(1, x), x.abs()
    total = sizes.forward(size)
    relative, absolute = _bounds(tau)
    assume_live(assumed, tau, total, absolute, scale)
    share = tau / total.clamp_min(absolute)
    # Half of what counts as too large, which is known only up to round-off.
    assumed.note(lambda most: 2 * relative * most < 1, torch.linalg.vector_norm(share, torch.inf))
    return size.mul_(sizes.transpose(share))


def _below_bend(
    mixing: Mixing, x: Tensor, bent: Bent
) -> tuple[Tensor, Tensor, Tensor | None] | None:
    """Two linear maps, and the fallback where there is bias that meets no contribution."""
    if not isinstance(mixing, ConvMap) or not kernels.fit(x, bent.y):
        return None
    sizes = mixing.power(1, x)
    size = x if bent.floor >= 0 or bool(x.amin() >= 0) else x.abs()
    total = sizes.forward(size)
    share, mass, left = kernels.bends.share(bent.parts(), total, _bounds(bent.y))
    beta = sizes.transpose(share).mul_(size)
    if left is None:
        return beta, mass, None
    extra, lost = hand_to_support(mixing, x, left, 0)
    return beta + extra, mass, None if lost is None else row_sums(lost)


def _by_rows(mixing: Mixing, x: Tensor, tau: Tensor) -> tuple[Tensor, Tensor | None] | None:
    """Through a dense layer of which each row is read once."""
    if not isinstance(mixing, DenseMap) or not mixing.by_kernel(x, tau):
        return None
    return kernels.dense.split(mixing.weight, x, tau, _bounds(tau), even=False)


def _by_kernel(tau: Tensor, total: Tensor) -> tuple[Tensor, Tensor | None]:
    """Bias over the total, written over it, and that of units without any."""
    return kernels.shares.divide(tau, total, _bounds(tau))


def _bounds(tau: Tensor) -> tuple[float, float]:
    """What counts as none: in units of tau, and in itself."""
    limits = torch.finfo(tau.dtype)
    return 1 / (limits.max * limits.eps), limits.tiny


def _least(sizes: Tensor) -> Tensor:
    """Contributions so small that their quotients leave the number format count as none.

    It is written over the sizes of tau.
    """
    relative, absolute = _bounds(sizes)
    return sizes.mul_(relative).clamp_min_(absolute)


def _ample(tau: Tensor, total: Tensor) -> bool:
    """Whether all units surely have contributions that count."""
    return bool(total.numel()) and bool(total.amin() > _least(tau.new_full((), largest(tau))))


def _divide(
    tau: Tensor, total: Tensor, share: Tensor, live: Tensor, mask: Tensor | None = None
) -> None:
    """Write tau over the total, and which units are live."""
    least = _least(tau.abs())
    torch.gt(total, least, out=live)
    if mask is not None:
        live.mul_(mask)
    torch.div(tau, torch.maximum(total, least, out=least), out=share).mul_(live)
