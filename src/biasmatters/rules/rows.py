"""The direct form where all places share one table of coefficients: convolutions, linear layers.

Rows of the table meet rows of inputs, a few places at a time. Behind a ReLU many units have no
bias: then only the rows of those that have are read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeGuard

import torch
from torch import Tensor

from biasmatters.affine.masks import any_left, count
from biasmatters.affine.mixing import Connections, Mixing, Stackable, ranges
from biasmatters.rules.layer import Layer, Shares, Sizes

# Connections in a block for each thread, and on a GPU.
BLOCK, ON_GPU = 1 << 19, 1 << 26
# Inputs of a unit below which rows are too short, and the share of units with bias above which
# picking them does not pay.
SHORT, DENSE = 12, 0.75


def has_rows(mixing: Mixing) -> TypeGuard[Stackable]:
    """Whether a map has one table of coefficients for all places, with rows worth it."""
    return isinstance(mixing, Stackable) and mixing.weight[:1].numel() >= SHORT


def split_by_rows(links: Connections, layer: Layer) -> tuple[Tensor, Tensor | None]:
    """The split like the inputs of the connections, and the tau that `Shares` leaves.

    Args:
        links: Connections of exponents.
        layer: Their layer.
    """
    total, units = torch.empty_like(links.inputs), links.units(layer.tau)
    left = torch.zeros_like(units)
    steep = None if layer.steep is None else links.units(layer.steep)
    sizes = layer.sizes(links.coefficients, layer.gains_of(links))
    for group in range(units.shape[1]):
        exponents = _flat(links.inputs[:, group])
        rows = _Rows(
            exponents=exponents,
            absent=layer.absent(exponents),
            tau=_flat(units[:, group]),
            steep=None if steep is None else _flat(steep[:, group]),
            sizes=sizes.table(group),
            layer=layer,
        )
        found, weak = rows.split()
        total[:, group] = _folded(found, len(total))
        left[:, group] = _folded(weak, len(left))
    return total, left if any_left(left) else None


def _flat(values: Tensor) -> Tensor:
    """``(B, K, L)`` to ``(B L, K)``."""
    return values.transpose(1, 2).reshape(-1, values.shape[1])


def _folded(values: Tensor, batch: int) -> Tensor:
    """The way back of `_flat`."""
    return values.reshape(batch, -1, values.shape[1]).transpose(1, 2)


@dataclass(frozen=True)
class _Block:
    """Units at some places: where, which, and their table's rows.

    Attributes:
        places: ``(b,)`` or a slice.
        units: ``(b, P)``, or a slice where all places have the same.
        tau: ``(b, P)``.
    """

    places: Tensor | slice
    units: Tensor | slice
    tau: Tensor


@dataclass(frozen=True)
class _Rows:
    """One group of units: a table ``(P, K)`` and the inputs of L places, ``(L, K)``."""

    exponents: Tensor
    absent: Tensor | None
    tau: Tensor
    steep: Tensor | None
    sizes: Sizes
    layer: Layer

    def split(self) -> tuple[Tensor, Tensor]:
        """The split ``(L, K)`` and the tau that is left ``(L, P)``."""
        total, left = torch.zeros_like(self.exponents), torch.zeros_like(self.tau)
        room = self.exponents.new_empty(0)
        with_bias = count(self.tau)
        if not with_bias:
            return total, left
        dense = with_bias > DENSE * self.tau.numel()
        for block in self._all() if dense else self._with_bias():
            wanted = block.tau.numel() * self.exponents.shape[1]
            if room.numel() < wanted:
                room = self.exponents.new_empty(wanted)
            e = self._exponents(block, room[:wanted])
            shares = Shares(e, 2, block.tau, self.layer, self.sizes)
            handed = torch.bmm(shares.each.unsqueeze(1), e).squeeze(1)
            if isinstance(block.places, slice):
                total[block.places] += handed
            else:
                total.index_add_(0, block.places, handed)
            if shares.left is not None:
                self._leave(left, block, shares.left)
        return total, left

    def _exponents(self, block: _Block, room: Tensor) -> Tensor:
        """``(b, P, K)`` in the room given."""
        some, inner = block.units, self.exponents.shape[1]
        x = self.exponents[block.places].unsqueeze(1)
        e = room.view(*block.tau.shape, inner)
        if isinstance(some, slice):
            torch.mul(self.sizes.values[some], x, out=e)
        else:
            torch.index_select(self.sizes.values, 0, some.flatten(), out=room.view(-1, inner))
            e.mul_(x)
        if self.steep is not None:
            steep = self.steep[block.places]
            picked = steep[:, some] if isinstance(some, slice) else steep.gather(1, some)
            e.mul_(picked.unsqueeze(2))
        if self.absent is not None:
            e.add_(self.absent[block.places].unsqueeze(1))
        if self.sizes.absent is not None:
            e.masked_fill_(self.sizes.absent[some], -torch.inf)
        return e

    def _leave(self, left: Tensor, block: _Block, tau: Tensor) -> None:
        if isinstance(block.units, slice) or isinstance(block.places, slice):
            left[block.places, block.units] = tau
        else:
            left.index_put_((block.places[:, None], block.units), tau, accumulate=True)

    def _limit(self) -> int:
        """Units times places in a block."""
        on_gpu = self.tau.device.type != "cpu"
        room = ON_GPU if on_gpu else BLOCK * torch.get_num_threads()
        return max(1, room // max(self.exponents.shape[1], 1))

    def _all(self) -> Iterator[_Block]:
        """Every unit of every place."""
        limit, (places, units) = self._limit(), self.tau.shape
        for here in ranges(places, max(1, limit // units)):
            for some in ranges(units, limit):
                yield _Block(here, some, self.tau[here, some])

    def _with_bias(self) -> Iterator[_Block]:
        """Units with bias, places with about as many of them together; the shorter are filled up.

        What fills up has the tau 0.
        """
        limit = self._limit()
        place, unit = self.tau.nonzero(as_tuple=True)
        tau = self.tau[place, unit]
        counts = torch.bincount(place, minlength=len(self.tau))
        starts = counts.cumsum(0) - counts
        order = counts.argsort(descending=True)
        lengths, first = counts[order].tolist(), 0
        while first < len(lengths) and lengths[first]:
            longest = lengths[first]
            here = order[first : first + max(1, limit // longest)]
            first += len(here)
            for some in ranges(longest, limit):
                ranks = torch.arange(some.start, some.stop, device=place.device)
                at = (starts[here, None] + ranks).clamp_max_(len(tau) - 1)
                inside = ranks < counts[here, None]
                yield _Block(here, unit[at], tau[at].mul_(inside))
