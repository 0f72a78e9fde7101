"""Several tensors meeting unit by unit: residual additions, products, maxima."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from biasmatters.affine.mixing import Connections, Linear, raise_to


@dataclass(frozen=True)
class BranchMap:
    """``out = sum_b coefficients[..., b] x[..., b]``: the last axis holds the branches.

    Attributes:
        coefficients: Broadcastable to the stacked input.
    """

    coefficients: Tensor

    def power(self, exponent: int, like: Tensor) -> Linear:
        """The map with coefficients ``|m|^exponent``."""
        powers = raise_to(self.coefficients.to(like.dtype), exponent)
        return Linear(
            lambda x: (x * powers).sum(-1),
            lambda tau: tau.unsqueeze(-1) * powers,
        )

    def connections(self, x: Tensor) -> Connections:
        """All connections, for the direct form."""
        branches = x.shape[-1]
        wide = self.coefficients.to(x.dtype).expand(x.shape).reshape(1, 1, 1, -1, branches)
        return Connections(
            inputs=x.reshape(1, 1, -1, branches).transpose(-1, -2),
            coefficients=wide.transpose(-1, -2),
            units=lambda tau: tau.reshape(1, 1, 1, -1),
            scatter=lambda values: values.transpose(-1, -2).reshape(x.shape),
        )
