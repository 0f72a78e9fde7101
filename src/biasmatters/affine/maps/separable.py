"""Maps that act along each axis by a small matrix: pooling by averages, interpolation, sums."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from biasmatters.affine.mixing import Connections, Linear, raise_to


def along(matrix: Tensor, x: Tensor, axis: int) -> Tensor:
    """Apply ``matrix (out, in)`` along one axis of x."""
    return (x.movedim(axis, -1) @ matrix.T).movedim(-1, axis)


@dataclass(frozen=True)
class SeparableMap:
    """``M[p, q] = prod over axes of matrix_axis[p_axis, q_axis]``.

    Elementwise powers of such a product are products of powers, so the fast form stays separable.

    Attributes:
        matrices: ``(out, in)`` for each axis that is mixed.
    """

    matrices: Mapping[int, Tensor]

    def power(self, exponent: int, like: Tensor) -> Linear:
        """The map with coefficients ``|m|^exponent``."""
        powers = {a: raise_to(m.to(like.dtype), exponent) for a, m in self.matrices.items()}

        def forward(x: Tensor) -> Tensor:
            for axis, matrix in powers.items():
                x = along(matrix, x, axis)
            return x

        def transpose(tau: Tensor) -> Tensor:
            for axis, matrix in powers.items():
                tau = along(matrix.T, tau, axis)
            return tau

        return Linear(forward, transpose)

    def connections(self, x: Tensor) -> Connections:
        """All connections, for the direct form."""
        axes = sorted(self.matrices)
        others = [a for a in range(x.ndim) if a not in self.matrices]
        order = [*others, *axes]
        sizes = [x.shape[a] for a in axes]
        batch = prod(x.shape[a] for a in others)
        picks, weights = zip(*(_rows(self.matrices[a].to(x.dtype)) for a in axes), strict=True)
        coefficients, index = _outer(picks, weights, sizes)
        flat = x.permute(order).reshape(batch, prod(sizes))
        gathered = flat[:, index].unsqueeze(1)

        def scatter(values: Tensor) -> Tensor:
            out = torch.zeros_like(flat)
            out.index_add_(1, index.reshape(-1), values.reshape(batch, index.numel()))
            shape = [x.shape[a] for a in order]
            return out.reshape(shape).permute([order.index(a) for a in range(x.ndim)])

        return Connections(
            inputs=gathered,
            coefficients=coefficients[None, None, None],
            units=lambda tau: tau.permute(order).reshape(batch, 1, 1, index.shape[1]),
            scatter=scatter,
        )


def _rows(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """The columns that each row uses, padded to the same count with weight 0."""
    used = matrix != 0
    count = max(int(used.sum(1).max()), 1)
    index = used.to(torch.int8).argsort(dim=1, descending=True, stable=True)[:, :count]
    return index, matrix.gather(1, index)


def _outer(
    picks: tuple[Tensor, ...], weights: tuple[Tensor, ...], sizes: list[int]
) -> tuple[Tensor, Tensor]:
    """Combine the axes: ``(K, L)`` coefficients and flat input positions."""
    index, weight = picks[0].T, weights[0].T
    for pick, extra, size in zip(picks[1:], weights[1:], sizes[1:], strict=True):
        index = (index[:, None, :, None] * size + pick.T[None, :, None, :]).flatten(2).flatten(0, 1)
        weight = (weight[:, None, :, None] * extra.T[None, :, None, :]).flatten(2).flatten(0, 1)
    return weight, index
