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
        coefficients: Broadcastable to the stacked input.
    """

    coefficients: Tensor

    def power(self, exponent: int, like: Tensor) -> Linear:
        """The map with coefficients ``|m|^exponent``."""
        powers = raise_to(self.coefficients.to(like.dtype), exponent)
        if powers.numel() == like.shape[-1] and bool((powers == 1).all()):
            return Linear(_added, lambda tau: tau.unsqueeze(-1).expand(like.shape))
        return Linear(
            lambda x: (x * powers).sum(-1),
            lambda tau: (tau * powers.expand(like.shape).movedim(-1, 0)).movedim(0, -1),
        )

    def connections(self, x: Tensor) -> Connections:
        """All connections, for the direct form."""
        branches = x.shape[-1]
        wide = self.coefficients.to(x.dtype)
        if wide.numel() != branches or wide.shape[-1] != branches:
            wide = wide.expand(x.shape)
        return Connections(
            inputs=x.movedim(-1, 0).reshape(1, 1, branches, -1),
            coefficients=wide.movedim(-1, 0).reshape(1, 1, 1, branches, -1),
            units=lambda tau: tau.reshape(1, 1, 1, -1),
            scatter=lambda values: values.reshape(branches, *x.shape[:-1]).movedim(0, -1),
        )


def beside(
    values: Sequence[Tensor], coefficients: Sequence[Tensor | float], shape: torch.Size
) -> tuple[BranchMap, Tensor]:
    """The map of some branches and its input ``(*shape, len(values))``.

    Args:
        values: Each broadcastable to the shape.
        coefficients: A number or a tensor for each.
        shape: Of the output.
    """
    stacked = torch.stack([v.detach().expand(shape) for v in values]).movedim(0, -1)
    factors = [
        c.detach().to(stacked)
        if isinstance(c, Tensor)
        else torch.as_tensor(c, dtype=stacked.dtype, device=stacked.device)
        for c in coefficients
    ]
    if any(factor.ndim for factor in factors):
        factors = [factor.expand(shape) for factor in factors]
    return BranchMap(torch.stack(factors).movedim(0, -1)), stacked


def _added(x: Tensor) -> Tensor:
    """The sum over the branches, which are few."""
    return reduce(torch.add, x.unbind(-1))
