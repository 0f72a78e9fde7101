"""Even shares in a convolution whose coefficients are all there: every unit of a place is alike.

A unit counts the inputs of all channels in its window, so one sum over the channels stands for all
units, and what the units of a place hand out reaches all channels alike: their sum is enough. Units
with zeros among their coefficients, if they are few, are seen to apart.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from biasmatters import kernels
from biasmatters.affine.axis import row_sums
from biasmatters.affine.bent import Bent
from biasmatters.affine.maps.conv import ConvMap
from biasmatters.affine.maps.counting import NARROW, Holes
from biasmatters.affine.maps.planes import fits_planes
from biasmatters.affine.masks import above, left_out, present, unless_empty
from biasmatters.affine.mixing import Linear, Mixing

# A count that is convolved may come out as a little more than 0. The same as kernels take it.
LEAST = 0.5
COUNTED = (0.0, LEAST)
# Share of zeros among coefficients up to which they are taken off one by one.
FEW = 0.1


def share_evenly(
    mixing: Mixing, x: Tensor, tau: Tensor, *, to_all: bool
) -> tuple[Tensor, Tensor | None] | None:
    """Split tau evenly over each unit's inputs, None where another way has to be taken.

    Args:
        mixing: The linear map.
        x: Its input.
        tau: Like its output.
        to_all: Whether inputs that are 0 get a share, too.

    Returns:
        The inputs' bias, and the tau of units without any input, None for none.
    """
    if (
        not isinstance(mixing, ConvMap)
        or mixing.groups > 1
        or not kernels.fit(x, tau, mixing.weight)
    ):
        return None
    if mixing.a_point:
        return _at_points(mixing, x, tau, to_all)
    holes = mixing.holes
    if holes is None or (holes.some and (not holes.by_rows or _narrow(mixing))):
        return None
    return _Even(mixing, holes, x, tau, to_all).split()


def share_bent_evenly(
    mixing: Mixing, x: Tensor, bent: Bent
) -> tuple[Tensor, Tensor | None, Tensor | None] | None:
    """The same for bias above a bend; what units without any input have goes evenly to all.

    Returns:
        The inputs' bias; the size of what went evenly to all, ``(N,)``; and the sum of what has
        no input in reach at all, likewise; None for nothing.
    """
    if not isinstance(mixing, ConvMap) or mixing.groups > 1:
        return None
    if not mixing.a_point:
        return _bent_in_windows(mixing, x, bent)
    if not kernels.fit(x, bent.y, mixing.weight) or _many(mixing):
        return None
    return kernels.points.split_bent(x, bent.parts(), mixing.cuts)


def _bent_in_windows(
    conv: ConvMap, x: Tensor, bent: Bent
) -> tuple[Tensor, Tensor | None, Tensor | None] | None:
    """One plane of sums stands for all units without zeros; the others, if few, are split apart."""
    if not fits_planes(conv, x, bent.y):
        return None
    holes = conv.holes
    if holes is None or not holes.by_rows:
        return None
    how = (conv.padding, conv.dilation, conv.stride)
    found = kernels.even.split_bent(x, bent.parts(), conv.weight, holes.places, *how, COUNTED)
    if not holes.some:
        return found
    beta, mass, orphans = found
    more, size, lost = _bent_apart(conv, x, bent, holes.places)
    return beta.add_(more), _sum(mass, size), _sum(orphans, lost)


def _sum(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    """The sum of what is there."""
    if a is None or b is None:
        return b if a is None else a
    return a + b


def _bent_apart(
    conv: ConvMap, x: Tensor, bent: Bent, places: Tensor
) -> tuple[Tensor, Tensor, Tensor | None]:
    """The bias of some units, each with coefficients of its own."""
    part = replace(conv, weight=conv.weight.index_select(0, places))
    tau, held, mass = bent.at(places).written_out()
    beta, lost = _over(part, present(x), x, tau)
    if lost is not None:
        mass, held = mass + row_sums(lost.abs()), _sum(held, lost)
    if held is None:
        return beta, mass, None
    rest, orphans = _over(part, torch.ones_like(x[:1]), x, held)
    return beta.add_(rest), mass, None if orphans is None else row_sums(orphans)


def _over(conv: ConvMap, seen: Tensor, x: Tensor, tau: Tensor) -> tuple[Tensor, Tensor | None]:
    """Split tau evenly over what is seen of x, and the tau of units that see nothing."""
    support = conv.linear(present(conv.weight), 1, x)
    count = support.forward(seen)
    reached = above(count, LEAST)
    share = (tau * reached).div_(count.clamp_min_(1))
    return support.transpose(share).mul_(seen), unless_empty(left_out(tau, reached))


def _narrow(conv: ConvMap) -> bool:
    """Whether a convolution of all channels costs less than what zeros take besides."""
    return conv.weight.shape[1] < NARROW


def _many(conv: ConvMap) -> bool:
    """Whether too many coefficients are 0 to be taken off one by one."""
    return len(conv.cuts.channels) > FEW * conv.weight.numel()


def _at_points(
    conv: ConvMap, x: Tensor, tau: Tensor, to_all: bool
) -> tuple[Tensor, Tensor | None] | None:
    """Where outputs and inputs lie at the same places; None if many coefficients are 0."""
    if _many(conv):
        return None
    beta, some_without = kernels.points.split(x, tau, conv.cuts, to_all=to_all)
    if not some_without:
        return beta, None
    seen = torch.ones_like(x) if to_all else kernels.shares.present(x)
    lost = tau.masked_fill(
        conv.linear(present(conv.weight).to(x.dtype), 1, x).forward(seen) > LEAST, 0
    )
    return beta, unless_empty(lost)


class _Even:
    """One split; see `share_evenly`."""

    def __init__(self, conv: ConvMap, holes: Holes, x: Tensor, tau: Tensor, to_all: bool) -> None:
        self._holes, self._x, self._tau, self._to_all = holes, x, tau, to_all
        ones = x.new_ones(1, 1, *conv.weight.shape[2:])
        like = x[:, :1]
        self._one = conv.linear(ones, 1, like)
        self._zeros = conv.linear(holes.zeros.to(x.dtype), 1, x) if holes.some else None

    def split(self) -> tuple[Tensor, Tensor | None]:
        x, tau = self._x, self._tau
        if self._to_all:
            seen = x.new_full((1, 1, *x.shape[2:]), x.shape[1])
        else:
            seen = kernels.channels.count_present(x)
        count = self._one.forward(seen)
        carried = kernels.channels.sum_channels(tau)
        some = None if self._zeros is None else self._apart(self._zeros, count)
        if some is not None:
            carried = carried - tau.index_select(1, self._holes.places).sum(1, keepdim=True)
        share = carried / count.clamp_min(1)
        full = float(count.amin()) > LEAST
        if not full:
            share = share * (count > LEAST)
        if some is not None:
            share = share + some.sum(1, keepdim=True)
        plane = self._one.transpose(share)
        beta = plane.expand_as(x) if self._to_all else kernels.channels.give(x, plane)
        if some is not None and self._zeros is not None:
            back = self._zeros.transpose(some)
            beta = beta - (back if self._to_all else back.mul_(present(x)))
            beta.index_fill_(1, self._holes.dead, 0)  # it is round-off there
        return beta, None if full and some is None else self._lost(count)

    def _apart(self, zeros: Linear, count: Tensor) -> Tensor:
        """The shares of the units with zeros, ``(N, R, *space)``."""
        tau = self._tau.index_select(1, self._holes.places)
        own = self._own(zeros, count)
        return (tau / own.clamp_min(1)).mul_(own > LEAST)

    def _own(self, zeros: Linear, count: Tensor) -> Tensor:
        """How many inputs the units with zeros have."""
        x = torch.ones_like(self._x[:1]) if self._to_all else present(self._x)
        return count - zeros.forward(x)

    def _lost(self, count: Tensor) -> Tensor | None:
        reached = (count > LEAST).expand(len(count), self._tau.shape[1], *count.shape[2:])
        if self._zeros is not None:
            own = self._own(self._zeros, count) > LEAST
            reached = reached.index_copy(
                1, self._holes.places, own.expand(len(count), *own.shape[1:])
            )
        if bool(reached.all()):
            return None
        return unless_empty(self._tau.masked_fill(reached, 0))
