"""Multigrid for pixels that are the weighted mean of their neighbours.

For removed pixels u the system is sum_j w_ij (u_i - u_j) = 0 over the neighbours j inside the
picture, with w = 2 beside and 1 across a corner (in twelfths). Its matrix A is symmetric, and
positive as soon as one pixel is known. A neighbour sum is [1 2 1] x [1 2 1] less its centre, so
nothing is assembled on the pixels, and every step runs over all pictures and channels at once.

Grids are ``(B, C, H + 2, W + 2)`` with a border of zeros and H and W odd, so that neighbours are
shifts of the flattened grid and every second node, first and last included, makes a coarser grid.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

# The widest grid that is solved directly.
SMALLEST = 5
# Coarse nodes over the same few unknowns make their matrix singular.
RIDGE = 1e-5
# The most by which a smoothing step stretches an error, by absolute row sums; it must be under 2.
STRETCH = 1.7


class Pixels:
    """The finest level: A v = diagonal v - neighbours(v) at the unknowns, 0 elsewhere.

    Args:
        removed: ``(B, 1, H, W)`` bool, the unknowns; H and W odd.
        inside: ``(1, 1, H, W)`` bool, where the picture is.
        dtype: To compute in.

    Attributes:
        mask: ``(B, 1, H + 2, W + 2)``, 1 at the unknowns.
        smoother: Likewise, what a residual is multiplied by in a smoothing step.
    """

    def __init__(self, removed: Tensor, inside: Tensor, dtype: torch.dtype) -> None:
        self.mask: Tensor = pad(removed.to(dtype), (1, 1, 1, 1))
        self._diagonal = neighbour_sum(pad(inside.to(dtype), (1, 1, 1, 1))) * self.mask
        self.smoother = _reciprocal(self._diagonal * (2 / STRETCH))

    def add(self, to: Tensor, v: Tensor, sign: int) -> Tensor:
        """``to + sign A v`` in place of ``to``; v is 0 wherever there is no unknown."""
        to.addcmul_(self._diagonal, v, value=sign)
        return to.addcmul_(self.mask, neighbour_sum(v), value=-sign)


class Nodes:
    """A coarser level: P^T A P for P the bilinear interpolation, cut off at the unknowns.

    Args:
        finer: The level above.

    Attributes:
        mask: ``(B, 1, H + 2, W + 2)``, 1 at the nodes that have an unknown in reach.
        smoother: As of :class:`Pixels`.
    """

    def __init__(self, finer: Level) -> None:
        inside = pad(torch.ones_like(finer.mask[:1, :, 1:-1, 1:-1]), (1, 1, 1, 1))
        inside = (restrict(inside) > 0).to(inside)
        rows, columns = (torch.arange(side, device=inside.device) % 3 for side in inside.shape[2:])
        kind = 3 * rows[:, None] + columns
        # Nodes three apart have no neighbour in common: nine combs of ones show all of A.
        combs = (kind == torch.arange(9, device=kind.device).view(1, 9, 1, 1)) * inside
        low = prolong(combs, finer.mask)
        seen = restrict(finer.add(torch.zeros_like(low), low, 1)).flatten(2)
        beside = torch.stack([kind.flatten().roll(-shift) for shift in _shifts(kind.shape[1])])
        # Nine numbers a node, each of shape (B, 1, nodes).
        self._entries = seen.gather(1, beside.expand_as(seen)).movedim(1, 0).unsqueeze(2)
        middle = self._entries[4]
        bound = self._entries.abs().sum(0) / STRETCH
        self.mask: Tensor = (middle > 0).to(middle).view(-1, *inside.shape[1:])
        self.smoother = _reciprocal(torch.maximum(middle, bound)).view_as(self.mask)

    def add(self, to: Tensor, v: Tensor, sign: int) -> Tensor:
        """``to + sign A v`` in place of ``to``; v is 0 wherever there is no unknown."""
        flat, wide = v.flatten(2), v.shape[-1]
        first, last = wide + 1, flat.shape[2] - wide - 1
        out = to.flatten(2)[..., first:last]
        for entry, shift in zip(self._entries, _shifts(wide), strict=True):
            out.addcmul_(
                entry[..., first:last], flat[..., first + shift : last + shift], value=sign
            )
        return to


Level = Pixels | Nodes


class Multigrid:
    """About A^-1: one symmetric V-cycle.

    Args:
        finest: The level whose inverse is wanted.
    """

    def __init__(self, finest: Pixels) -> None:
        self._levels: list[Level] = [finest]
        while max(self._levels[-1].mask.shape[2:]) - 2 > SMALLEST:
            self._levels.append(Nodes(self._levels[-1]))
        self._inverse = _inverse(self._levels[-1])

    def __call__(self, residual: Tensor) -> Tensor:
        """About A^-1 residual; the residual is used up."""
        return self._cycle(0, residual)

    def _cycle(self, depth: int, r: Tensor) -> Tensor:
        level = self._levels[depth]
        if depth + 1 == len(self._levels):
            inner = r[..., 1:-1, 1:-1]
            return pad((inner.flatten(2) @ self._inverse).view(inner.shape), (1, 1, 1, 1))
        z = level.smoother * r
        rest = self._cycle(depth + 1, restrict(level.add(r.clone(), z, -1)))
        z += prolong(rest, level.mask)
        return z.addcmul_(level.smoother, level.add(r, z, -1))


def neighbour_sum(v: Tensor) -> Tensor:
    """Twelve times the weighted sum of the eight neighbours; meaningless on the border."""
    flat, wide = v.flatten(2), v.shape[-1]
    beside = flat[..., 2:] + flat[..., :-2]
    row = beside.add(flat[..., 1:-1], alpha=2)
    out = torch.empty_like(flat)
    out[..., : wide + 1] = 0
    out[..., -wide - 1 :] = 0
    inner = out[..., wide + 1 : -wide - 1]
    torch.add(row[..., : -2 * wide], row[..., 2 * wide :], out=inner)
    inner.add_(beside[..., wide:-wide], alpha=2)
    return out.view_as(v)


def restrict(v: Tensor) -> Tensor:
    """P^T v on the coarser grid, its sides made odd by a row of zeros."""
    v = (v[..., :-1:2, :] + v[..., 2::2, :]).mul_(0.5).add_(v[..., 1::2, :])
    v = (v[..., :-1:2] + v[..., 2::2]).mul_(0.5).add_(v[..., 1::2])
    height, width = v.shape[-2:]
    return pad(v, (1, 2 - width % 2, 1, 2 - height % 2))


def prolong(v: Tensor, mask: Tensor) -> Tensor:
    """P v at the unknowns of the finer grid, whose mask this is."""
    height, width = mask.shape[-2:]
    v = v[..., : height // 2 + 2, : width // 2 + 2]
    rows = v.new_empty(*v.shape[:2], height, v.shape[-1])
    rows[..., 1::2, :] = v[..., 1:-1, :]
    torch.lerp(v[..., :-1, :], v[..., 1:, :], 0.5, out=rows[..., ::2, :])
    out = v.new_empty(*v.shape[:2], height, width)
    out[..., 1::2] = rows[..., 1:-1]
    torch.lerp(rows[..., :-1], rows[..., 1:], 0.5, out=out[..., ::2])
    return out * mask


def _shifts(wide: int) -> list[int]:
    """Where the nine nodes around a node are in a flattened grid, itself in the middle."""
    return [down * wide + across for down in (-1, 0, 1) for across in (-1, 0, 1)]


def _reciprocal(v: Tensor) -> Tensor:
    return torch.where(v > 0, 1 / v, 0)


def _inverse(level: Level) -> Tensor:
    """``(B, H W, H W)``; it does not matter what it says where there is no unknown."""
    height, width = level.mask.shape[2:]
    count = height * width
    eye = torch.eye(count, dtype=level.mask.dtype, device=level.mask.device)
    columns = eye.view(1, count, height, width) * level.mask
    matrix = level.add(torch.zeros_like(columns), columns, 1)
    inner = torch.arange(count, device=eye.device).view(height, width)[1:-1, 1:-1].flatten()
    matrix = matrix.flatten(2)[:, inner][..., inner].double()
    empty = 1 - level.mask.flatten(1)[:, inner].double()
    ridge = torch.diag_embed(RIDGE * matrix.diagonal(dim1=1, dim2=2) + empty)
    inverse: Tensor = torch.linalg.inv(matrix + ridge)
    return inverse.to(level.mask)
