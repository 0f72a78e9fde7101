"""Counting connections, as if every channel were connected, less those that are not.

Where no coefficient of a convolution is 0 all channels of a group count alike, and one stands for
them. Pruned and quantised kernels have zeros, mostly in few rows or few columns: these are counted
apart, by a convolution of those alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from biasmatters import kernels
from biasmatters.affine.masks import all_present
from biasmatters.affine.mixing import Linear

# Share of the rows or columns with zeros above which all coefficients are counted one by one.
MANY = 0.25
# Channels of a group below which a convolution costs no more than what counting takes besides.
NARROW = 8


@dataclass(frozen=True)
class Holes:
    """Where a kernel is 0.

    Attributes:
        zeros: ``1[weight = 0]`` of the rows or columns with zeros.
        places: Which these are, none of them if the kernel has no zeros.
        dead: Channels that no unit sees.
        by_rows: Whether they are rows, units, or columns, channels.
    """

    zeros: Tensor
    places: Tensor
    dead: Tensor
    by_rows: bool

    @property
    def some(self) -> bool:
        """Whether the kernel has any zeros."""
        return self.places.numel() > 0


_NOWHERE = torch.empty(0, dtype=torch.long, device="cpu")
NO_HOLES = Holes(torch.empty(0, device="cpu"), _NOWHERE, _NOWHERE, by_rows=True)


class Kernel(Protocol):
    """What a convolution shows of itself."""

    @property
    def weight(self) -> Tensor:
        """``(out, in / groups, *kernel)``."""
        ...

    @property
    def groups(self) -> int:
        """Channel groups."""
        ...

    @property
    def a_point(self) -> bool:
        """Whether outputs and inputs lie at the same places, one to one."""
        ...

    @property
    def holes(self) -> Holes | None:
        """As `find_holes` has them."""
        ...

    def linear(self, weight: Tensor, groups: int, like: Tensor) -> Linear:
        """The same convolution with another kernel, for inputs ``like``."""
        ...


def counting(conv: Kernel, like: Tensor) -> Linear | None:
    """The map with coefficients ``1[m != 0]``, None where it is not cheaper than a convolution.

    Args:
        conv: The convolution.
        like: Its input.
    """
    if conv.weight.shape[1] < NARROW or (holes := conv.holes) is None:
        return None
    everything = _everything(conv, like)
    if not holes.some:
        return everything
    zeros = holes.zeros.to(like.dtype)
    if holes.by_rows:
        return _less_rows(everything, conv.linear(zeros, 1, like), holes)
    part = conv.linear(zeros, 1, like[:, holes.places])
    return _less_columns(everything, part, holes)


def find_holes(weight: Tensor, groups: int) -> Holes | None:
    """Where a kernel is 0, None for in too many places to count apart."""
    found = _count_zeros(weight)
    if found is None:
        return NO_HOLES
    by_row, by_column = found
    rows, columns = by_row.nonzero().squeeze(1), by_column.nonzero().squeeze(1)
    units, each = weight.shape[:2]
    if groups > 1 or min(len(rows) / units, len(columns) / each) > MANY:
        return None
    dead = (by_column == weight[:, 0].numel()).nonzero().squeeze(1)
    if len(rows) * each <= len(columns) * units:
        return Holes(_where_zero(weight[rows]), rows, dead, by_rows=True)
    return Holes(_where_zero(weight[:, columns]), columns, dead, by_rows=False)


def _count_zeros(weight: Tensor) -> tuple[Tensor, Tensor] | None:
    """How many zeros each row and each column has, None where there are none."""
    if kernels.fit(weight):
        return kernels.shares.zeros(weight)
    if all_present(weight):
        return None
    zeros = _where_zero(weight)
    return zeros.flatten(1).sum(1), zeros.movedim(1, 0).flatten(1).sum(1)


def _where_zero(weight: Tensor) -> Tensor:
    return torch.eq(weight, 0, out=torch.empty_like(weight))


def _everything(conv: Kernel, like: Tensor) -> Linear:
    """As if no coefficient were 0: the channels of a group are added up, and all units alike."""
    groups = conv.groups
    units, inputs = conv.weight.shape[0] // groups, conv.weight.shape[1]
    if conv.a_point:
        one = Linear(lambda x: x, lambda tau: tau)
    else:
        ones = like.new_ones(groups, 1, *conv.weight.shape[2:])
        few = like[:, :1]
        if groups > 1:
            few = few.expand(-1, groups, *like.shape[2:])
        one = conv.linear(ones, groups, few)
    return Linear(
        lambda x: _widened(one.forward(_merged(x, groups)), units),
        lambda tau: _widened(one.transpose(_merged(tau, groups)), inputs),
    )


def _less_rows(whole: Linear, part: Linear, holes: Holes) -> Linear:
    """Without what some units do not see."""

    def forward(x: Tensor) -> Tensor:
        return whole.forward(x).contiguous().index_add_(1, holes.places, part.forward(x), alpha=-1)

    def transpose(tau: Tensor) -> Tensor:
        total = whole.transpose(tau) - part.transpose(tau.index_select(1, holes.places))
        return total.index_fill_(1, holes.dead, 0)  # it is round-off there

    return Linear(forward, transpose)


def _less_columns(whole: Linear, part: Linear, holes: Holes) -> Linear:
    """Without what does not see some channels."""

    def forward(x: Tensor) -> Tensor:
        return whole.forward(x) - part.forward(x.index_select(1, holes.places))

    def transpose(tau: Tensor) -> Tensor:
        total = whole.transpose(tau).contiguous()
        total.index_add_(1, holes.places, part.transpose(tau), alpha=-1)
        return total.index_fill_(1, holes.dead, 0)

    return Linear(forward, transpose)


def _merged(x: Tensor, groups: int) -> Tensor:
    """The sum over each group's channels."""
    if x.shape[1] == groups:
        return x
    if groups == 1:
        return x.sum(1, keepdim=True)
    return x.reshape(len(x), groups, x.shape[1] // groups, *x.shape[2:]).sum(2)


def _widened(x: Tensor, each: int) -> Tensor:
    """Every channel several times over."""
    if x.shape[1] == 1:
        return x.expand(-1, each, *x.shape[2:])
    return x if each == 1 else x.repeat_interleave(each, 1)
