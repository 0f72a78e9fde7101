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
        if self.even:
            return self._even(exponent, like)
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

    @property
    def even(self) -> bool:
        """Whether everything along each axis has one coefficient, shown in many places."""
        found = [m.shape[0] == 1 and m.stride(1) == 0 < m.numel() for m in self.matrices.values()]
        return bool(found) and all(found)

    def back(self, grad: Tensor, like: Tensor) -> Tensor:
        """The transpose of the map as it is, where it is even, for an input ``like``."""
        factor = prod(float(m[0, 0]) for m in self.matrices.values())
        return (grad * factor).expand(like.shape)

    def _even(self, exponent: int, like: Tensor) -> Linear:
        factor = prod(float(m[0, 0]) for m in self.matrices.values())
        size = float(factor != 0) if exponent == 0 else abs(factor) ** exponent
        axes = list(self.matrices)

        def forward(x: Tensor) -> Tensor:
            total = x.sum(axes, keepdim=True)
            return total if size == 1 else total * size

        def transpose(tau: Tensor) -> Tensor:
            return (tau if size == 1 else tau * size).expand(like.shape)

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
