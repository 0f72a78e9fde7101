"""Dense maps: a weight matrix over the last axis, and batched matrix products."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from biasmatters.affine.mixing import Connections, Linear, raise_to


@dataclass(frozen=True)
class DenseMap:
    """``out[..., p] = sum_q weight[p, q] x[..., q]`` with ``weight`` of shape ``(P, Q)``."""

    weight: Tensor

    def power(self, exponent: int, like: Tensor) -> Linear:
        """The map with coefficients ``|m|^exponent``."""
        if exponent == 0 and bool((self.weight != 0).all()):
            units, inputs = self.weight.shape
            return Linear(
                lambda x: x.sum(-1, keepdim=True).expand(*x.shape[:-1], units),
                lambda tau: tau.sum(-1, keepdim=True).expand(*tau.shape[:-1], inputs),
            )
        weight = raise_to(self.weight.to(like.dtype), exponent)
        return Linear(lambda x: x @ weight.T, lambda tau: tau @ weight)

    def connections(self, x: Tensor) -> Connections:
        """All connections, for the direct form."""
        units, inputs = self.weight.shape
        return Connections(
            inputs=x.reshape(-1, 1, inputs, 1),
            real=torch.ones((), dtype=torch.bool, device=x.device),
            coefficients=self.weight.to(x.dtype).reshape(1, 1, units, inputs, 1),
            units=lambda tau: tau.reshape(-1, 1, units, 1),
            scatter=lambda patches: patches.reshape(x.shape),
        )


@dataclass(frozen=True)
class MatmulMap:
    """``out = matrix @ x`` over the last two axes, leading axes broadcast.

    ``matrix`` is ``(..., P, Q)``, ``x`` is ``(..., Q, R)`` and the output ``(..., P, R)``.
    """

    matrix: Tensor

    def power(self, exponent: int, like: Tensor) -> Linear:
        """The map with coefficients ``|m|^exponent``."""
        matrix = raise_to(self.matrix.to(like.dtype), exponent)
        return Linear(
            lambda x: matrix @ x,
            lambda tau: (matrix.transpose(-1, -2) @ tau).sum_to_size(like.shape),
        )

    def connections(self, x: Tensor) -> Connections:
        """All connections, for the direct form."""
        lead = (self.matrix[..., 0, 0] * x[..., 0, 0]).shape
        rows, inner = self.matrix.shape[-2:]
        columns = x.shape[-1]
        wide = x.expand(*lead, inner, columns)
        matrix = self.matrix.to(x.dtype).expand(*lead, rows, inner)
        return Connections(
            inputs=wide.reshape(-1, 1, inner, columns),
            real=torch.ones((), dtype=torch.bool, device=x.device),
            coefficients=matrix.reshape(-1, 1, rows, inner, 1),
            units=lambda tau: tau.reshape(-1, 1, rows, columns),
            scatter=lambda patches: patches.reshape(wide.shape).sum_to_size(x.shape),
        )
