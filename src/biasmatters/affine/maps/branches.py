"""Several tensors meeting unit by unit: residual additions, products, maxima."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor

from biasmatters.affine.mixing import Connections, Linear, raise_to


@dataclass(frozen=True)
class BranchMap:
    """``out = sum_b coefficients[..., b] x[..., b]``: the last axis holds the branches.

    It is fastest where the branches lie one after another in memory.

    Attributes:
        coefficients: Broadcastable to the stacked input, or a number for each branch.
    """

    coefficients: Tensor | tuple[float, ...]

    def power(self, exponent: int, like: Tensor) -> Linear:
        """The map with coefficients ``|m|^exponent``."""
        if self._known_ones:
            return Linear(_added, lambda tau: tau.unsqueeze(-1).expand(like.shape))
        powers = raise_to(self._like(like), exponent)
        if powers.numel() == like.shape[-1] and bool((powers == 1).all()):
            return Linear(_added, lambda tau: tau.unsqueeze(-1).expand(like.shape))
        return Linear(
            lambda x: (x * powers).sum(-1),
            lambda tau: (tau * powers.expand(like.shape).movedim(-1, 0)).movedim(0, -1),
        )

    def connections(self, x: Tensor) -> Connections:
        """All connections, for the direct form."""
        branches = x.shape[-1]
        wide = self._like(x)
        if wide.numel() != branches or wide.shape[-1] != branches:
            wide = wide.expand(x.shape)
        return Connections(
            inputs=x.movedim(-1, 0).reshape(1, 1, branches, -1),
            coefficients=wide.movedim(-1, 0).reshape(1, 1, 1, branches, -1),
            units=lambda tau: tau.reshape(1, 1, 1, -1),
            scatter=lambda values: values.reshape(branches, *x.shape[:-1]).movedim(0, -1),
        )

    @property
    def _known_ones(self) -> bool:
        """Whether all are of the size 1, which is seen without looking at a tensor."""
        return isinstance(self.coefficients, tuple) and {*map(abs, self.coefficients)} == {1}

    def _like(self, x: Tensor) -> Tensor:
        """The coefficients as a tensor."""
        if isinstance(self.coefficients, Tensor):
            return self.coefficients.to(x.dtype)
        return torch.stack([x.new_full((), number) for number in self.coefficients])


def beside(
    values: Sequence[Tensor], coefficients: Sequence[Tensor | float], shape: torch.Size
) -> tuple[BranchMap, Tensor]:
    """The map of some branches and its input ``(*shape, len(values))``.

    Args:
        values: Each broadcastable to the shape.
        coefficients: A number or a tensor for each.
        shape: Of the output.
    """
    shown = [v if v.shape == shape else v.expand(shape) for v in values]
    stacked = torch.stack(shown).detach().movedim(0, -1)
    numbers = tuple(float(c) for c in coefficients if not isinstance(c, Tensor))
    if len(numbers) == len(coefficients):
        return BranchMap(numbers), stacked
    factors = [
        c.detach().to(stacked) if isinstance(c, Tensor) else stacked.new_full((), c)
        for c in coefficients
    ]
    if any(factor.ndim for factor in factors):
        factors = [factor.expand(shape) for factor in factors]
    return BranchMap(torch.stack(factors).movedim(0, -1)), stacked


def _added(x: Tensor) -> Tensor:
    """The sum over the branches, which are few."""
    return reduce(torch.add, x.unbind(-1))
